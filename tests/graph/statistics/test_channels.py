"""Counts by channel are those of the values, in bins that each part a power of two by eight."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoprec.graph.statistics.channels import OCTAVES, STEPS, ChannelCounts, from_arrays, to_arrays
from autoprec.graph.statistics.histogram import BINS, Histogram

MAGNITUDES = st.floats(min_value=2.0**-12, max_value=8.0, width=32)


def bin_of(magnitude: float, top: int) -> int:
    """By the definition: the power of two below, and the eighth of it."""
    fraction, exponent = math.frexp(magnitude)  # in [0.5, 1)
    place = (exponent - 1 - (top - OCTAVES)) * STEPS + int((2 * fraction - 1) * STEPS)
    return min(max(place, 0), OCTAVES * STEPS - 1)


@given(st.lists(st.tuples(MAGNITUDES, MAGNITUDES), min_size=1, max_size=20))
def test_a_value_is_counted_where_its_leading_bits_say(pairs: list[tuple[float, float]]) -> None:
    array = np.array(pairs, np.float32) * np.where(np.arange(len(pairs)) % 2, 1, -1)[:, None]
    channels = ChannelCounts.like(array, 1)
    assert channels.top == max(math.ceil(math.log2(np.abs(array).max())), -12) + 4
    channels.observe(array.astype(np.float32), 1)
    weight = 1024 // len(pairs)
    for place, row in enumerate(np.abs(array).T):
        wanted = np.zeros(OCTAVES * STEPS)
        for magnitude in row.tolist():
            wanted[bin_of(magnitude, channels.top)] += weight
        np.testing.assert_array_equal(channels.counts[place], wanted)
        assert channels.largest[place] == row.max()


def test_large_samples_are_counted_at_spread_positions_and_count_alike() -> None:
    channels = ChannelCounts.like(np.ones((1, 2, 2048), np.float32), 1)
    large = np.ones((1, 2, 2048), np.float32)
    large[:, :, 1::2] = 4.0  # every second one is left out, but is the largest all the same
    channels.observe(large, 1)
    assert channels.counts.sum(axis=1).tolist() == [1024, 1024]
    assert channels.counts[0, bin_of(1.0, channels.top)] == 1024
    assert channels.largest.tolist() == [4.0, 4.0]
    channels.observe(np.full((1, 2, 256), 0.5, np.float32), 1)
    assert channels.counts[1, bin_of(0.5, channels.top)] == 1024, "a small sample counts as much"


def test_nothing_but_zeros_has_the_range_of_one() -> None:
    channels = ChannelCounts.like(np.zeros((1, 3, 4), np.float32), 1)
    channels.observe(np.zeros((1, 3, 4), np.float32), 1)
    assert (channels.top, channels.largest.tolist()) == (4, [0.0, 0.0, 0.0])
    assert channels.scaled(np.ones(3)).largest == 0.0
    assert channels.scaled(np.ones(3)).counts.sum() == 0


def test_mean_squares_are_those_of_the_values() -> None:
    array = np.random.default_rng(0).standard_normal((1, 3, 1024)).astype(np.float32) * [[[0.1], [1], [30]]]
    channels = ChannelCounts.like(array, 1)
    assert channels.mean_squares().tolist() == [0, 0, 0], "nothing was seen"
    channels.observe(array, 1)
    np.testing.assert_allclose(channels.mean_squares(), np.square(array).mean(axis=(0, 2)), rtol=0.02)


@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 3.0), (7.0, 0.01)])
def test_a_scaled_histogram_counts_points_inside_each_bin(factors: tuple[float, float]) -> None:
    array = np.array([[0.3, 5.0], [0.7, 2.1], [0.31, 4.9]], np.float32)
    channels = ChannelCounts.like(array, 1)
    channels.observe(array, 1)
    scaled, largest = channels.scaled(np.array(factors)), 0.0
    wanted, points = np.zeros(BINS, np.int64), list[tuple[float, int]]()
    for row, factor in zip(array.T, factors, strict=True):
        largest = max(largest, float(row.max()) * factor)
        for magnitude in row.tolist():
            exponent = math.frexp(magnitude)[1] - 1
            eighth = int((magnitude / 2.0**exponent - 1) * STEPS)
            for part in (0.125, 0.375, 0.625, 0.875):
                inside = 2.0**exponent * (1 + (eighth + part) / STEPS)
                points.append((min(inside, float(row.max())) * factor, 1024 // 3))
    top = 2.0 ** math.ceil(math.log2(largest))
    for magnitude, count in points:
        wanted[min(int(magnitude * BINS / top), BINS - 1)] += count
    assert (scaled.top, scaled.largest) == pytest.approx((top, largest))
    np.testing.assert_array_equal(scaled.counts, wanted)


def test_channels_of_several_values_come_back_each_as_its_own() -> None:
    channels = {}
    for name, count in (("a", 2), ("b", 5), ("c", 1)):
        array = np.random.default_rng(count).standard_normal((1, count, 7)).astype(np.float32)
        channels[name] = ChannelCounts.like(array, 1)
        channels[name].observe(array, 1)
    back = from_arrays(to_arrays(channels))
    assert list(back) == ["a", "b", "c"]
    for name, counts in channels.items():
        np.testing.assert_array_equal(back[name].counts, counts.counts)
        np.testing.assert_array_equal(back[name].largest, counts.largest)
        assert back[name].top == counts.top
    assert from_arrays(to_arrays({})) == {}


@given(st.lists(st.lists(MAGNITUDES, min_size=1, max_size=9), min_size=1, max_size=4), st.integers(1, 3))
def test_a_histogram_counts_each_magnitude_in_its_bin(batches: list[list[float]], weight: int) -> None:
    histogram = Histogram()
    for batch in batches:
        histogram.observe("x", -np.array(batch, np.float32), weight)
    everything = [magnitude for batch in batches for magnitude in batch]
    # The top of a range counts in its last bin, and stays below the middle when the range grows.
    assume(all(m == max(everything) or math.frexp(m)[0] != 0.5 for m in everything))
    assert histogram.largest == max(everything)
    assert math.log2(histogram.top) % 1 == 0
    assert histogram.top / 2 < max(everything) <= histogram.top or histogram.top <= 2 * max(everything)
    wanted = np.zeros(BINS, np.int64)
    for magnitude in everything:
        wanted[min(int(magnitude * BINS / histogram.top), BINS - 1)] += weight
    np.testing.assert_array_equal(histogram.counts, wanted)


def test_what_is_beyond_all_bins_counts_in_the_last_one_of_its_channel() -> None:
    channels = ChannelCounts.like(np.ones((1, 3, 4), np.float32), 1)
    channels.observe(np.array([[[1e30] * 4, [0.0] * 4, [1.0] * 4]], np.float32), 1)
    assert channels.counts[0, -1] == channels.counts[1, 0] == 1024
    assert channels.counts.sum(axis=1).tolist() == [1024] * 3
    assert channels.largest.tolist() == [np.float32(1e30), 0, 1]
