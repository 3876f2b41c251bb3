"""Paired rounds: the order of turns, the readings, and when to check if they are enough. Holds no clock."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence

import numpy as np

from autoprec.backends._base import Engine
from autoprec.backends.ratios import typical_ratio
from autoprec.records import Clocks, Interval, Latency

_FIRST_LOOK, _BETWEEN_LOOKS = 20, 1.25
"""After this many rounds, then this many times as many: a look after each would stop at the lucky ones."""


def looks_after(minimum_rounds: int) -> Iterator[int]:
    """Numbers of rounds at which to ask whether they are enough."""
    yield min(_FIRST_LOOK, minimum_rounds)
    look = minimum_rounds
    while True:
        yield look
        look = math.ceil(look * _BETWEEN_LOOKS)


class Rounds:
    """The readings so far, in ms; `build_spread` is what the builds leave unknown, whatever the rounds."""

    def __init__(self, build_spread: float) -> None:
        self._build_spread = build_spread
        self._reference: list[float] = []
        self._candidate: list[float] = []
        self._ratios: list[float] = []  # kept sorted, for the interval
        self._builds = 1
        self.spent_ms = 0.0
        """Sum of all readings: the time that is over where costs are known and nothing is executed."""

    @property
    def count(self) -> int:
        """Number of rounds so far."""
        return len(self._ratios)

    @property
    def width(self) -> float:
        """Full width of the ratio's interval for these builds, relative to the ratio."""
        ratio, interval = typical_ratio(self._ratios)
        return (interval.high - interval.low) / ratio

    @property
    def interval(self) -> Interval:
        """Interval of the ratio."""
        return typical_ratio(self._ratios, self._build_spread).interval

    def turns(self, builds: Sequence[tuple[Engine, Engine]], count: int) -> list[Engine]:
        """The order of `count` rounds, each of the next build.

        Once all builds had a turn, candidate and reference swap places: who runs first of a pair finds other
        caches and clocks than who runs second.
        """
        order: list[Engine] = []
        for number in range(self.count, self.count + count):
            cycle, build = divmod(number, len(builds))
            reference, candidate = builds[build]
            order += [reference, candidate] if cycle % 2 else [candidate, reference]
        self._builds = len(builds)
        return order

    def add(self, readings: Sequence[float]) -> None:
        """Add the readings of the engines of `turns`, in ms."""
        for first, second in zip(readings[::2], readings[1::2], strict=True):
            # As in `turns`: `count` grows with each round.
            is_turned = self.count // self._builds % 2
            theirs, ours = (first, second) if is_turned else (second, first)
            self._reference.append(theirs)
            self._candidate.append(ours)
            bisect.insort(self._ratios, ours / theirs)
            self.spent_ms += ours + theirs

    def latency(self, *, before: Clocks, after: Clocks) -> Latency:
        """The record of all rounds."""
        p10, median, p90 = np.percentile(self._candidate, (10, 50, 90))
        ratio, interval = typical_ratio(self._ratios, self._build_spread)
        return Latency(
            median_ms=float(median),
            p10_ms=float(p10),
            p90_ms=float(p90),
            rounds=self.count,
            reference_median_ms=float(np.median(self._reference)),
            ratio=ratio,
            ratio_interval=interval,
            before=before,
            after=after,
        )
