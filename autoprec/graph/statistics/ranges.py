"""Ranges of activations: what one pass over the data leaves, and the methods that choose from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from autoprec import kept
from autoprec.errors import SamplesError
from autoprec.graph.statistics.channels import ChannelCounts, from_arrays, to_arrays
from autoprec.graph.statistics.histogram import BINS, Histogram

__all__ = ["BINS", "RANGE_METHODS", "Histogram", "Histograms", "range_of"]

_KIND = "histograms 1"


class Histograms:
    """The histogram of each observed value, its channels, and the largest magnitude of every float value."""

    def __init__(self) -> None:
        self.by_value: dict[str, Histogram] = {}
        self.channels: dict[str, ChannelCounts] = {}
        self.largest: dict[str, float] = {}
        self.samples = 0

    def expect(self, name: str) -> None:
        """Say which value is next in order; values may then be observed in several threads, each in one."""
        self.by_value.setdefault(name, Histogram())
        self.largest.setdefault(name, 0.0)

    def observe(self, name: str, array: NDArray[Any], weight: int = 1) -> None:
        """Count a tensor's values, each `weight` times."""
        histogram = self.by_value.setdefault(name, Histogram())
        histogram.observe(name, array, weight)
        self.observe_largest(name, histogram.largest)

    def leave_out(self, name: str) -> None:
        """Drop the range of a value that turned out to be a mask."""
        self.by_value[name] = Histogram()
        self.largest[name] = 0.0

    def observe_channels(self, name: str, array: NDArray[Any], axis: int) -> None:
        """Count a tensor's values by channel."""
        if name not in self.channels:
            self.channels[name] = ChannelCounts.like(array, axis)
        self.channels[name].observe(array, axis)

    def observe_largest(self, name: str, largest: float) -> None:
        """Keep the largest magnitude of a value. Raises `SamplesError` for NaN or infinity."""
        if not np.isfinite(largest):
            raise SamplesError(
                f"calibration: {name!r} becomes NaN or infinite in FP32; fix the data or the model"
            )
        self.largest[name] = max(self.largest.get(name, 0.0), largest)

    def ranges(self, method: str, percentile: float, levels: int = 127) -> dict[str, float]:
        """Largest magnitude to represent, by value name; 0 for a value that is always 0.

        Args:
            method: a name of `RANGE_METHODS`.
            percentile: for that method, in percent.
            levels: positive steps of the grid.
        """
        return {
            name: range_of(histogram, method=method, percentile=percentile, levels=levels)
            for name, histogram in self.by_value.items()
        }

    def save(self, path: Path, of: str = "") -> None:
        """Write as a kept file of plain arrays. Raises OSError.

        Args:
            path: the file.
            of: what it was made from; `load` wants the same.
        """
        names, histograms = list(self.by_value), list(self.by_value.values())
        channels = {name: self.channels[name] for name in names if name in self.channels}
        arrays: dict[str, Any] = dict(
            names=np.array(names, dtype=str),
            counts=np.stack([h.counts for h in histograms]) if histograms else np.zeros((0, BINS), np.int64),
            tops=np.array([h.top for h in histograms]),
            largest_names=np.array(list(self.largest), dtype=str),
            largest=np.array(list(self.largest.values())),
            samples=np.array(self.samples),
            **to_arrays(channels),
        )
        kept.keep(path, _KIND, of, lambda part: _write(part, arrays))

    @classmethod
    def load(cls, path: Path, of: str = "", say: Callable[[str], None] = lambda _: None) -> Histograms | None:
        """The histograms that `save` wrote for the same `of`; None if missing or damaged, and `say` gets the
        reason.

        Raises `StudyError` for a file that cannot be read at all.
        """
        return kept.load(path, _KIND, of, cls._read, say)

    @classmethod
    def _read(cls, stream: IO[bytes]) -> Histograms:
        result = cls()
        with np.load(stream, allow_pickle=False) as file:
            result.largest = dict(zip(file["largest_names"].tolist(), file["largest"].tolist(), strict=True))
            for name, counts, top in zip(file["names"].tolist(), file["counts"], file["tops"], strict=True):
                result.by_value[name] = Histogram(counts, float(top), result.largest[name])
            result.channels = from_arrays(file)
            result.samples = int(file["samples"])
        return result


def _write(part: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """An .npz archive, compressed at the quickest level: at that of `numpy.savez_compressed` a ViT-S took
    3 s, for a file a fifth smaller."""
    with ZipFile(part, "w") as archive:
        for name, array in arrays.items():
            member = BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # By a name alone the member would get the time: the same statistics are the same file.
            archive.writestr(ZipInfo(f"{name}.npy"), member.getbuffer(), ZIP_DEFLATED, 1)


def range_of(histogram: Histogram, *, method: str, percentile: float, levels: int = 127) -> float:
    """Largest magnitude to represent, of one histogram; see `Histograms.ranges`.

    Args:
        histogram: of magnitudes.
        method: one of `RANGE_METHODS`.
        percentile: 0 to 100, for the method of that name.
        levels: positive steps of the grid, for methods that weigh its error.
    """
    if not histogram.largest:
        return 0.0
    return min(RANGE_METHODS[method](histogram, percentile, levels), histogram.largest)


def _min_max(histogram: Histogram, percentile: float, levels: int) -> float:  # noqa: ARG001
    """Nothing is clipped."""
    return histogram.largest


def _percentile(histogram: Histogram, percentile: float, levels: int) -> float:  # noqa: ARG001
    """`percentile` % of all magnitudes are not clipped; within a bin, in proportion."""
    reached = np.cumsum(histogram.counts)
    wanted = reached[-1] * percentile / 100
    place = int(np.searchsorted(reached, wanted))
    place = min(place, BINS - 1)
    before = reached[place - 1] if place else 0
    share = (wanted - before) / max(1, histogram.counts[place])
    return float((place + share) * histogram.top / BINS)


def _mse(histogram: Histogram, percentile: float, levels: int) -> float:  # noqa: ARG001
    """Least squared error: clipped tails against rounding, (step^2)/12 for each value inside."""
    centres = (np.arange(BINS) + 0.5) * histogram.top / BINS
    limits = histogram.largest * np.linspace(0.02, 1, 200)
    excess = np.maximum(centres[None] - limits[:, None], 0) ** 2 @ histogram.counts
    inside = np.searchsorted(centres, limits)
    rounding = (limits / levels) ** 2 / 12 * np.concatenate([[0], np.cumsum(histogram.counts)])[inside]
    return float(limits[np.argmin(excess + rounding)])


def _entropy(histogram: Histogram, percentile: float, levels: int) -> float:  # noqa: ARG001
    """Least Kullback-Leibler divergence of the quantised distribution (Migacz, "8-bit Inference with
    TensorRT", GTC 2017), over histograms of 2048 bins up to the largest magnitude."""
    # The bin of the largest magnitude is part of it, also where the magnitude is the bin's lower edge.
    used = min(BINS, max(levels + 1, int(histogram.largest / histogram.top * BINS) + 1))
    edges = np.linspace(0, used, 2049)
    counts = np.diff(
        np.interp(edges, np.arange(BINS + 1), np.concatenate([[0], np.cumsum(histogram.counts)]))
    )
    best, limit = np.inf, 2048
    for end in range(levels + 1, 2049, 16):
        reference = counts[:end].copy()
        reference[-1] += counts[end:].sum()
        divergence = _divergence(reference, counts[:end], levels + 1)
        if divergence < best:
            best, limit = divergence, end
    return float(limit / 2048 * used * histogram.top / BINS)


def _divergence(reference: NDArray[np.float64], inside: NDArray[np.float64], levels: int) -> float:
    """Divergence of a distribution from its version with `levels` steps; 0 counts stay 0."""
    groups = np.minimum(np.arange(len(inside)) * levels // len(inside), levels - 1)
    filled = inside > 0
    totals = np.bincount(groups, inside, levels)
    members = np.bincount(groups, filled, levels)
    spread = np.where(filled, (totals / np.maximum(members, 1))[groups], 0)
    p, q = reference / reference.sum(), spread / max(spread.sum(), 1e-12)
    kept = q > 0  # nowhere but where p is
    # Mass that the quantised version cannot represent counts as if it were nearly impossible.
    return float((p[kept] * np.log(p[kept] / q[kept])).sum() + 30 * p[~kept].sum())


RANGE_METHODS: Mapping[str, Callable[[Histogram, float, int], float]] = MappingProxyType(
    {"min-max": _min_max, "percentile": _percentile, "entropy": _entropy, "mse": _mse}
)
