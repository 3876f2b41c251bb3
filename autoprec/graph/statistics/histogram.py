"""Counts of magnitudes, bounded whatever the data: the grids are symmetric, signs do not count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError

BINS = 8192
_AT_ONCE = 1 << 17
"""Values counted at a time, so that they fit the processor's cache: twice as fast as all at once. Fewer make
threads wait for one another, as each call of NumPy's takes Python's lock twice."""
Counts = NDArray[np.int64]


class Histogram:
    """Counts of |x| in `BINS` bins from 0 to a power of two that doubles when a value exceeds it."""

    def __init__(self, counts: Counts | None = None, top: float = 0.0, largest: float = 0.0) -> None:
        self.counts = np.zeros(BINS, np.int64) if counts is None else counts
        self.top = top
        self.largest = largest

    def observe(self, name: str, array: NDArray[Any], weight: int = 1) -> None:
        """Count a tensor's values, each `weight` times.

        Raises `SamplesError` for NaN or infinity, naming the value.
        """
        # max(-min, max) instead of the largest of |x|: no copy of a tensor that may have tens of millions of
        # values.
        values = np.asarray(array, np.float32).reshape(-1)
        largest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
        if not np.isfinite(largest):
            raise SamplesError(
                f"calibration: {name!r} becomes NaN or infinite in FP32; fix the data or the model"
            )
        self.largest = max(self.largest, largest)
        if largest == 0.0:
            # Before `_grow`: log2 of 0 has no power of two, and zeros alone must leave the range open.
            self.counts[0] += weight * values.size
            return
        self._grow(largest)
        counts, scale = np.zeros(BINS + 1, np.int64), np.float32(BINS / self.top)
        for start in range(0, values.size, _AT_ONCE):
            magnitudes = np.abs(values[start : start + _AT_ONCE])
            magnitudes *= scale
            counts += np.bincount(magnitudes.astype(np.intp), minlength=BINS + 1)
        counts[BINS - 1] += counts[BINS]  # the top itself
        self.counts += weight * counts[:BINS]

    def _grow(self, largest: float) -> None:
        """Double the range until `largest` fits; bins are added up pair by pair, so no count is lost."""
        if self.top == 0.0:
            # A power of two whatever comes first: so batches in another order end in the same bins, but for
            # values that were the top themselves, which stay one bin lower.
            self.top = float(2.0 ** np.ceil(np.log2(largest)))
        while largest > self.top:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([pairs, np.zeros(BINS // 2, np.int64)])
            self.top *= 2
