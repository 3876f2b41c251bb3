"""The distribution of each channel of an activation: logarithmic histograms that serve any scaling.

Scaling channels changes the distribution of the whole tensor; counts by channel and magnitude give it for
every scaling without a second pass over the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprec.graph.statistics.histogram import BINS, Histogram

Floats = NDArray[np.float64]

OCTAVES, STEPS = 20, 8
"""Bins reach this many powers of two down from the top; each power has this many bins."""
_POINTS = 4
"""A bin's counts are spread over this many points when channels of different scales are put together."""
_POSITIONS = 1024
"""Positions counted in each sample: neighbours in an image are nearly alike."""


class ChannelCounts:
    """Counts of |x| by channel and magnitude; `largest` [channels] is exact.

    Magnitudes are distinguished by the leading bits of their float32 form: its exponent, and `STEPS` parts of
    each power of two. What is below the lowest bin is counted in it; nothing there can move a range.
    """

    def __init__(self, counts: NDArray[np.uint32], largest: NDArray[np.float32], top: int) -> None:
        self.counts = counts
        self.largest = largest
        self.top = top
        """Power of two at the upper end of the bins."""

    @classmethod
    def like(cls, array: NDArray[Any], axis: int) -> ChannelCounts:
        """Empty counts that fit a tensor; four octaves are left free for larger samples."""
        channels, largest = array.shape[axis], float(np.abs(array).max(initial=0.0))
        top = (int(np.ceil(np.log2(largest))) if largest else 0) + 4
        return cls(np.zeros((channels, OCTAVES * STEPS), np.uint32), np.zeros(channels, np.float32), top)

    def observe(self, array: NDArray[Any], axis: int) -> None:
        """Count a tensor's values, at evenly spread positions; every sample counts alike."""
        rows = np.abs(np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1), dtype=np.float32)
        np.maximum(self.largest, rows.max(axis=1, initial=0.0), out=self.largest)
        # After the largest was taken: that one is exact, whatever positions are left out.
        rows = np.ascontiguousarray(rows[:, :: max(1, rows.shape[1] // _POSITIONS)])
        # The 23 bits of a float32 fraction, but for those that tell the parts of a power of two apart.
        shift = 23 - STEPS.bit_length() + 1
        lowest = (self.top - OCTAVES + 127) << (23 - shift)
        # Beyond the octaves that `like` left free, values count in the
        # last bin; `largest` is exact all the same.
        bins = np.clip((rows.view(np.int32) >> shift) - lowest, 0, OCTAVES * STEPS - 1)
        bins += np.arange(len(rows), dtype=np.int32)[:, None] * (OCTAVES * STEPS)
        counts = np.bincount(bins.reshape(-1), minlength=self.counts.size)
        # A sample of few positions counts as much as one of many: samples of free sizes would weigh by their
        # size.
        weight = max(1, _POSITIONS // max(1, rows.shape[1]))
        self.counts += (weight * counts.reshape(self.counts.shape)).astype(np.uint32)

    def mean_squares(self) -> Floats:
        """Mean of x^2 by channel, [channels]."""
        total = np.maximum(self.counts.sum(axis=1, dtype=np.float64), 1)
        squares: Floats = (self.counts @ np.square(self._magnitudes(1)[:, 0])) / total
        return squares

    def scaled(self, factors: NDArray[Any]) -> Histogram:
        """The histogram of the tensor after each channel is multiplied by its factor, [channels].

        It counts every value `_POINTS` times.
        """
        largest = float((self.largest * factors).max(initial=0.0))
        if largest == 0.0:
            return Histogram()
        top = float(2.0 ** np.ceil(np.log2(largest)))
        points = factors[:, None, None] * self._magnitudes(_POINTS)
        # A bin reaches beyond the largest value in it; counted there, it would widen the range.
        points = np.minimum(points, (self.largest * factors)[:, None, None])
        bins = np.minimum((points * (BINS / top)).astype(np.int64), BINS - 1)
        weights = np.broadcast_to(self.counts[:, :, None], points.shape)
        counts = np.bincount(bins.reshape(-1), weights.reshape(-1), minlength=BINS)
        return Histogram(counts.astype(np.int64), top, largest)

    def _magnitudes(self, points: int) -> Floats:
        """Magnitudes inside each bin, [bins, points]."""
        numbers = np.arange(OCTAVES * STEPS)[:, None]
        inside = (np.arange(points) + 0.5) / points
        octave = np.exp2(self.top - OCTAVES + numbers // STEPS, dtype=np.float64)
        return octave * (1 + (numbers % STEPS + inside) / STEPS)


def to_arrays(channels: Mapping[str, ChannelCounts]) -> dict[str, NDArray[Any]]:
    """Counts by value name as plain arrays."""
    listed = list(channels.values())
    empty = ChannelCounts(np.zeros((0, OCTAVES * STEPS), np.uint32), np.zeros(0, np.float32), 0)
    return {
        "channel_names": np.array(list(channels), dtype=str),
        "channel_sizes": np.array([len(c.largest) for c in listed], np.int64),
        "channel_tops": np.array([c.top for c in listed], np.int64),
        "channel_counts": np.concatenate([c.counts for c in (empty, *listed)]),
        "channel_largest": np.concatenate([c.largest for c in (empty, *listed)]),
    }


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, ChannelCounts]:
    """What `to_arrays` gave. Raises KeyError for an archive without channels."""
    ends = np.cumsum(arrays["channel_sizes"])[:-1]
    parts = zip(
        arrays["channel_names"].tolist(),
        np.split(arrays["channel_counts"], ends),
        np.split(arrays["channel_largest"], ends),
        arrays["channel_tops"].tolist(),
        strict=False,  # no value at all leaves one empty part
    )
    return {name: ChannelCounts(counts, largest, top) for name, counts, largest, top in parts}
