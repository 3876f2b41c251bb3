"""All range methods read the same histograms; overflow of FP16 is seen in the largest value."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from autoprec.graph.statistics.histogram import BINS, Histogram
from autoprec.graph.statistics.ranges import RANGE_METHODS, Histograms, range_of


def observed(*arrays: np.ndarray) -> Histograms:
    histograms = Histograms()
    for array in arrays:
        histograms.observe("x", array.astype(np.float32))
    return histograms


def heavy_tailed() -> np.ndarray:
    values = np.random.default_rng(0).standard_normal(200_000)
    values[0] = 60.0
    return values


def test_min_max_is_the_largest_magnitude_of_all_batches() -> None:
    ranges = observed(np.array([0.5, -3.0]), np.array([2.0]), np.array([-7.25]))
    assert ranges.ranges("min-max", 99.99)["x"] == pytest.approx(7.25, rel=1e-3)


def test_a_percentile_leaves_an_outlier_out() -> None:
    limit = observed(heavy_tailed()).ranges("percentile", 99.9)["x"]
    assert limit == pytest.approx(float(np.quantile(np.abs(heavy_tailed()), 0.999)), rel=0.02)


def test_mse_is_near_the_range_of_least_squared_error() -> None:
    values = heavy_tailed()

    def error(limit: float) -> float:
        grid = np.clip(np.rint(values / limit * 127), -127, 127) * limit / 127
        return float(np.square(values - grid).mean())

    best = min(np.geomspace(2, 60, 60), key=error)
    assert error(observed(values).ranges("mse", 99.99)["x"]) <= 1.05 * error(best)


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_no_method_goes_beyond_what_was_seen_or_down_to_nothing(method: str) -> None:
    limit = observed(heavy_tailed(), heavy_tailed() / 3).ranges(method, 99.99)["x"]
    assert 1.0 < limit <= 60.0 * 1.001


@pytest.mark.parametrize("method", RANGE_METHODS)
@pytest.mark.parametrize("array", [np.zeros(16), np.full(16, 5.0), np.array([1e-30, 3e-30])], ids=str)
def test_constants_and_zeros_have_a_finite_range(method: str, array: np.ndarray) -> None:
    limit = observed(array).ranges(method, 99.99).get("x", 0.0)
    assert 0.0 <= limit <= np.abs(array).max() * 1.001


def test_batches_in_another_order_give_the_same_range() -> None:
    random = np.random.default_rng(1)
    batches = [random.standard_normal(1000) * scale for scale in (0.01, 1.0, 30.0)]
    forth, back = (observed(*b).ranges("percentile", 99.9)["x"] for b in (batches, batches[::-1]))
    assert forth == pytest.approx(back, rel=0.01)


def test_histograms_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    before = observed(heavy_tailed())
    before.save(tmp_path / "histograms.npz")
    after = Histograms.load(tmp_path / "histograms.npz")
    assert after is not None
    assert after.ranges("entropy", 99.99) == before.ranges("entropy", 99.99)


def test_a_model_without_anything_to_quantise_has_a_file_too(tmp_path: Path) -> None:
    histograms = Histograms()
    histograms.observe_largest("x", 3.0)
    histograms.save(tmp_path / "histograms.npz")
    after = Histograms.load(tmp_path / "histograms.npz")
    assert after is not None
    assert (after.largest, after.by_value, after.channels) == ({"x": 3.0}, {}, {})


def test_the_same_statistics_are_the_same_file_whenever_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, real = [], time.localtime
    for days in (0, 1):
        monkeypatch.setattr(time, "localtime", lambda now, days=days: real(now + 86_400 * days))
        observed(heavy_tailed()).save(tmp_path / f"{days}.npz")
        written.append((tmp_path / f"{days}.npz").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04"])
def test_a_broken_file_of_histograms_is_made_anew(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "histograms.npz").write_bytes(content)
    assert Histograms.load(tmp_path / "histograms.npz") is None


@pytest.mark.parametrize("percentile", [91.0, 99.0, 99.9])
def test_a_percentile_of_even_counts_is_that_share_of_the_range(percentile: float) -> None:
    histogram = Histogram(np.full(BINS, 5, np.int64), 8.0, 8.0)
    ranges = range_of(histogram, method="percentile", percentile=percentile)
    assert ranges == pytest.approx(8.0 * percentile / 100, rel=1e-9)


def test_a_percentile_within_one_bin_is_in_proportion() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[0], counts[4] = 50, 50
    histogram = Histogram(counts, float(BINS), 5.0)
    assert range_of(histogram, method="percentile", percentile=95.0) == pytest.approx(4.9)


def test_counts_are_kept_when_the_range_doubles() -> None:
    histogram = Histogram()
    for values in ([0.4, 0.9, 0.0], [3.9], [0.0, 0.0]):
        histogram.observe("x", np.array(values), weight=2)
    assert (histogram.top, histogram.counts.sum(), histogram.counts[0]) == (4.0, 12, 6)
    assert histogram.counts[int(3.9 / 4 * BINS)] == 2
    assert histogram.counts[int(0.9 / 4 * BINS)] == 2
