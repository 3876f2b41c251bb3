"""The one stopwatch: paired latency, and the seconds of a trial's stages. Nothing else holds a clock.

Candidate and reference are timed in turn, in rounds; each round gives one ratio. The median of the ratios
and its order-statistic interval need no assumption about the noise, and a slow minute of the machine slows
both sides of a round alike.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autoprec.backends._base import Backend, Engine
from autoprec.records import Clocks, Interval, Latency

_GRAIN_MS = 1.0
"""Executions shorter than this are repeated within a round, so that the clock's grain does not matter."""


class Elapsed:
    """Seconds that a stage took; set when its `with` block ends."""

    seconds: float = 0.0


@contextmanager
def elapsed() -> Iterator[Elapsed]:
    """Wall time of a stage: `with elapsed() as build: ...`, then `build.seconds`."""
    result, start = Elapsed(), time.perf_counter()
    try:
        yield result
    finally:
        result.seconds = time.perf_counter() - start


class Deadline:
    """A moment in the future; None never comes."""

    def __init__(self, seconds: float | None) -> None:
        self._end = math.inf if seconds is None else time.perf_counter() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the moment is past."""
        return time.perf_counter() >= self._end


Stopwatch = Callable[[Engine, int], float]
"""Milliseconds of one execution of a prepared engine, over so many repeats within one reading."""


def host_milliseconds(engine: Engine, repeats: int) -> float:
    """Wall time on the host, for engines that compute there."""
    start = time.perf_counter_ns()
    for _ in range(repeats):
        engine.execute()
    engine.synchronize()
    return (time.perf_counter_ns() - start) / (1e6 * repeats)


@runtime_checkable
class OnDevice(Protocol):
    """An engine whose work is timed by events on its device's queue: `stop` waits and gives milliseconds."""

    def start_timer(self) -> None:
        """Put the first event on the queue."""

    def stop_timer(self) -> float:
        """Put the second event on the queue, wait for it, and return the milliseconds between the two."""


def device_milliseconds(engine: Engine, repeats: int) -> float:
    """Time on the device between two events around the executions, for engines that compute on a GPU."""
    assert isinstance(engine, OnDevice)
    engine.start_timer()
    for _ in range(repeats):
        engine.execute()
    return engine.stop_timer() / repeats


STOPWATCHES: Mapping[str, Stopwatch] = MappingProxyType(
    {"host": host_milliseconds, "cuda": device_milliseconds}
)


def pair(
    reference: Engine,
    candidate: Engine,
    backend: Backend,
    *,
    interval: float,
    seconds: float,
    minimum_rounds: int,
    warmup: int,
) -> Latency:
    """Paired latency of two prepared engines.

    Rounds go on until the 95 % interval of the median ratio is narrower than `interval` (full width,
    relative to the ratio) or `seconds` are over; never fewer than `minimum_rounds`.
    """
    watch = STOPWATCHES[backend.stopwatch]
    for _ in range(warmup):
        reference.execute()
        candidate.execute()
    candidate.synchronize()
    repeats = max(1, math.ceil(_GRAIN_MS / max(watch(candidate, 3), 1e-6)))
    before, deadline = backend.clocks(), Deadline(seconds)
    theirs: list[float] = []
    ours: list[float] = []
    with _no_garbage_collection():
        while len(ours) < minimum_rounds or (not deadline.is_over and _width(theirs, ours) > interval):
            # The order changes from round to round: whoever is second finds a warmer or colder cache.
            for engine in (reference, candidate) if len(theirs) % 2 else (candidate, reference):
                (ours if engine is candidate else theirs).append(watch(engine, repeats))
    return _latency(np.array(theirs), np.array(ours), before=before, after=backend.clocks())


def median_interval(values: NDArray[np.float64]) -> Interval:
    """Distribution-free 95 % interval of the median, by order statistics.

    Source: Conover, Practical Nonparametric Statistics, 3.2: ranks n/2 -+ 1.96 sqrt(n)/2.
    """
    ordered, count = np.sort(values), len(values)
    low = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)) - 1)
    return Interval(low=float(ordered[low]), high=float(ordered[count - 1 - low]))


def _width(theirs: list[float], ours: list[float]) -> float:
    """Relative full width of the ratio's interval."""
    ratios = np.array(ours) / np.array(theirs)
    found = median_interval(ratios)
    return (found.high - found.low) / float(np.median(ratios))


def _latency(
    theirs: NDArray[np.float64], ours: NDArray[np.float64], *, before: Clocks, after: Clocks
) -> Latency:
    """The record of all rounds; both arrays are in ms, one element for each round."""
    ratios = ours / theirs
    p10, median, p90 = np.percentile(ours, (10, 50, 90))
    return Latency(
        median_ms=float(median),
        p10_ms=float(p10),
        p90_ms=float(p90),
        rounds=len(ours),
        reference_median_ms=float(np.median(theirs)),
        ratio=float(np.median(ratios)),
        ratio_interval=median_interval(ratios),
        before=before,
        after=after,
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a round would count as latency."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
