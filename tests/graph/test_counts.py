"""Counts of magnitudes say what the values were, whatever order and however many times they came."""

from __future__ import annotations

import numpy as np
import pytest

from autoprec.errors import SamplesError
from autoprec.graph.statistics.channels import ChannelCounts
from autoprec.graph.statistics.histogram import BINS, Histogram
from autoprec.graph.statistics.ranges import range_of


def test_values_are_counted_in_the_bins_that_hold_them() -> None:
    histogram = Histogram()
    histogram.observe("x", np.array([0.0, -0.25, 0.5, 0.75, -1.0], np.float32), weight=3)
    assert (histogram.top, histogram.largest) == (1.0, 1.0)
    places = {int(place): int(histogram.counts[place]) for place in np.flatnonzero(histogram.counts)}
    assert places == {0: 3, BINS // 4: 3, BINS // 2: 3, 3 * BINS // 4: 3, BINS - 1: 3}


def test_zeros_are_counted_and_leave_the_range_open() -> None:
    histogram = Histogram()
    histogram.observe("x", np.zeros(7, np.float32), weight=2)
    assert (histogram.counts[0], histogram.top, histogram.largest) == (14, 0.0, 0.0)
    histogram.observe("x", np.full(1 << 16, 0.3, np.float32))
    assert histogram.top == 0.5
    assert histogram.counts.sum() == 14 + (1 << 16)


def test_a_larger_value_doubles_the_range_pair_by_pair() -> None:
    histogram = Histogram()
    histogram.observe("x", np.array([0.6, 0.9], np.float32))
    histogram.observe("x", np.array([3.0], np.float32))
    assert (histogram.top, histogram.largest) == (4.0, 3.0)
    assert np.flatnonzero(histogram.counts).tolist() == [int(v * BINS / 4) for v in (0.6, 0.9, 3.0)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_named(value: float) -> None:
    with pytest.raises(SamplesError, match="'scores' becomes NaN or infinite"):
        Histogram().observe("scores", np.array([1.0, value], np.float32))


def test_channels_know_their_largest_value_and_their_mean_square() -> None:
    array = np.random.default_rng(0).normal(size=(2, 3, 40, 40)).astype(np.float32)
    array *= np.array([0.01, 1, 100], np.float32)[:, None, None]
    channels = ChannelCounts.like(array, 1)
    channels.observe(array, 1)
    assert channels.largest.tolist() == np.abs(array).max(axis=(0, 2, 3)).tolist()
    assert channels.mean_squares() == pytest.approx(np.square(array).mean(axis=(0, 2, 3)), rel=0.35)


def test_scaled_channels_count_as_the_scaled_tensor_does() -> None:
    array = np.array([1.0, 2.0], np.float32)[None, :, None, None] * np.ones((1, 2, 50, 50), np.float32)
    channels, factors = ChannelCounts.like(array, 1), np.array([0.5, 8.0])
    channels.observe(array, 1)
    scaled = channels.scaled(factors)
    assert (scaled.top, scaled.largest) == (16.0, 16.0)
    low, high = (range_of(scaled, method="percentile", percentile=share) for share in (49, 100))
    assert low == pytest.approx(0.5, rel=0.1)
    assert high == 16
    assert scaled.counts[: BINS // 2].sum() == scaled.counts[BINS // 2 :].sum()
    assert channels.scaled(np.zeros(2)).largest == 0.0


def test_every_sample_of_a_channel_counts_alike_whatever_its_size() -> None:
    small, large = np.full((1, 1, 4, 4), 1.0, np.float32), np.full((1, 1, 400, 400), 4.0, np.float32)
    channels = ChannelCounts.like(large, 1)
    channels.observe(small, 1)
    channels.observe(large, 1)
    assert channels.mean_squares()[0] == pytest.approx((1 + 16) / 2, rel=0.15)
