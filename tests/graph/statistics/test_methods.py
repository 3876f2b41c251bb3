"""Each method of ranges chooses what its definition says, bin by bin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from autoprec.graph.statistics.histogram import BINS, Histogram
from autoprec.graph.statistics.ranges import range_of


def drawn(kind: str) -> Histogram:
    random = np.random.default_rng(3)
    values = {
        "half normal": random.standard_normal(20_000),
        "outlier": np.append(random.standard_normal(5_000), 40.0),
        "two heaps": np.concatenate([random.normal(0.5, 0.05, 4_000), random.normal(3, 0.1, 400)]),
        "few bins": np.array([0.001, 0.002, 7.9]),
        "sparse": np.repeat([0.5, 1.25, 2.0, 3.9], [40, 7, 90, 3]),
    }[kind]
    histogram = Histogram()
    histogram.observe("x", values.astype(np.float32))
    return histogram


KINDS = ("half normal", "outlier", "two heaps", "few bins", "sparse")


def least_squared_error(histogram: Histogram, levels: int) -> float:
    """Clipped magnitudes lose what is cut, the others a rounding error of (step^2)/12."""
    width, best, chosen = histogram.top / BINS, math.inf, 0.0
    held = np.flatnonzero(histogram.counts)
    for limit in histogram.largest * np.linspace(0.02, 1, 200):
        error = 0.0
        for place in held.tolist():
            centre = (place + 0.5) * width
            lost = (centre - limit) ** 2 if centre >= limit else (limit / levels) ** 2 / 12
            error += float(histogram.counts[place]) * lost
        if error < best * (1 - 1e-12):
            best, chosen = error, float(limit)
    return chosen


@pytest.mark.parametrize("levels", [127, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_mse_chooses_the_limit_of_the_least_error(kind: str, levels: int) -> None:
    histogram = drawn(kind)
    chosen = range_of(histogram, method="mse", percentile=0, levels=levels)
    assert chosen == pytest.approx(least_squared_error(histogram, levels), rel=1e-9)


def divergence(counts: NDArray[np.float64], end: int, steps: int) -> float:
    """Of the first `end` bins, that take what is behind them, from their version of so many steps."""
    reference = counts[:end].copy()
    reference[-1] += counts[end:].sum()
    quantised = np.zeros(end)
    for step in range(steps):
        members = [place for place in range(end) if min(place * steps // end, steps - 1) == step]
        filled = [place for place in members if counts[place] > 0]
        for place in filled:
            quantised[place] = counts[members].sum() / len(filled)
    p, q = reference / reference.sum(), quantised / max(quantised.sum(), 1e-12)
    terms = [a * math.log(a / b) if b > 0 else 30 * a for a, b in zip(p, q, strict=True) if a > 0]
    return float(sum(terms))


@pytest.mark.parametrize("levels", [127, 31])
@pytest.mark.parametrize("kind", ["outlier", "two heaps", "sparse"])
def test_entropy_chooses_the_least_divergence(kind: str, levels: int) -> None:
    histogram = drawn(kind)
    used = min(BINS, max(levels + 1, int(histogram.largest / histogram.top * BINS) + 1))
    below = np.concatenate([[0], np.cumsum(histogram.counts)])
    counts = np.diff(np.interp(np.linspace(0, used, 2049), np.arange(BINS + 1), below))
    ends = range(levels + 1, 2049, 16)
    chosen = range_of(histogram, method="entropy", percentile=0, levels=levels)
    end = round(chosen / (histogram.top / BINS * used) * 2048)
    assert end in ends or chosen == histogram.largest
    rivals = [e for e in (*ends[:: max(1, len(ends) // 6)], ends[-1], end - 16, end + 16) if e in ends]
    best = divergence(counts, min(end, 2048), levels + 1)
    assert all(best <= divergence(counts, rival, levels + 1) + 1e-9 for rival in rivals)


def test_entropy_cuts_an_outlier_off_and_leaves_an_even_spread_whole() -> None:
    assert range_of(drawn("outlier"), method="entropy", percentile=0) < 10
    even = Histogram(np.full(BINS, 5, np.int64), 8.0, 8.0)
    assert range_of(even, method="entropy", percentile=0) == pytest.approx(8.0, rel=0.01)


def test_entropy_of_few_used_bins_looks_at_these_alone() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[:300] = 10
    histogram = Histogram(counts, 8.0, 300 * 8.0 / BINS)
    assert range_of(histogram, method="entropy", percentile=0) == pytest.approx(histogram.largest, rel=0.02)


@pytest.mark.parametrize(("percentile", "wanted"), [(25.0, 0.5), (50.0, 1.0), (75.0, 3.5), (100.0, 4.0)])
def test_a_percentile_lies_where_that_share_of_all_counts_ends(percentile: float, wanted: float) -> None:
    counts = np.zeros(BINS, np.int64)
    counts[[0, 3]] = 40
    histogram = Histogram(counts, float(BINS), 4.0)
    assert range_of(histogram, method="percentile", percentile=percentile) == pytest.approx(wanted)
