"""The one stopwatch: paired latency, and the seconds of a trial's stages. Nothing else holds a clock.

Candidate and reference are timed in turn, in rounds; each round gives one ratio. The trimmed mean of the
ratios is not moved by outliers, and a slow minute of the machine slows both sides of a round alike. What no
number of rounds averages out is luck of a build: the interval allows for it, and rounds can take several
builds in turn. `scripts/bench/timing.py` shows what this is worth.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Protocol, Self, runtime_checkable

from autoprec.backends._base import Backend, Engine
from autoprec.backends.ratios import BUILD_SPREAD
from autoprec.backends.rounds import Rounds, looks_after
from autoprec.records import Interval, Latency
from autoprec.spec import TimingSection

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
        self._begin = time.perf_counter()
        self._end = math.inf if seconds is None else self._begin + seconds

    @property
    def is_over(self) -> bool:
        """Whether the moment is past."""
        return time.perf_counter() >= self._end

    @property
    def left(self) -> float:
        """Seconds until the moment; 0 once it is past."""
        return max(0.0, self._end - time.perf_counter())

    @property
    def spent(self) -> float:
        """Seconds since it was set."""
        return time.perf_counter() - self._begin

    @property
    def share(self) -> float:
        """How much of the time until the moment is over, 0 to 1."""
        return min(1.0, (time.perf_counter() - self._begin) / max(1e-9, self._end - self._begin))


class Pace:
    """The progress of a long task: a line now and then, with the time left.

    Args:
        total: how many items there are.
        start: how many of them were done before.
        seconds: between two lines.
    """

    def __init__(self, total: int, start: int = 0, seconds: float = 10.0) -> None:
        self._total, self._start, self._seconds = total, start, seconds
        self._begin = self._last = time.perf_counter()

    def left(self, done: int) -> float:
        """Seconds that the others take at this pace; infinite before the first is done."""
        more = done - self._start
        passed = time.perf_counter() - self._begin
        return passed / more * (self._total - done) if more > 0 else math.inf

    def line(self, done: int) -> str:
        """`1200 of 10000, 3 min left`; empty while the last line is recent."""
        now = time.perf_counter()
        if now - self._last < self._seconds or done <= self._start:
            return ""
        self._last, left = now, self.left(done)
        return f"{done} of {self._total}, {f'{left:.0f} s' if left < 90 else f'{left / 60:.0f} min'} left"


Stopwatch = Callable[[Engine, int], float]
"""Milliseconds of one execution of a prepared engine: the mean of many within one reading."""


def processor_milliseconds(engine: Engine, repeats: int) -> float:
    """Processor time of this process, for engines that compute on one thread of the host.

    On an idle machine it is the wall time; on a busy one it leaves out the time that others had the core.
    """
    start = time.process_time_ns()
    for _ in range(repeats):
        engine.execute()
    engine.synchronize()
    return (time.process_time_ns() - start) / (1e6 * repeats)


def host_milliseconds(engine: Engine, repeats: int) -> float:
    """Wall time, for engines that compute on several threads of the host."""
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


@runtime_checkable
class KnowsLatency(Protocol):
    """An engine that computes nothing and knows its latency."""

    def known_milliseconds(self) -> float:
        """The next reading."""


def known_milliseconds(engine: Engine, repeats: int) -> float:  # noqa: ARG001 - every stopwatch takes them
    """The latency that the engine reports, for simulated costs."""
    assert isinstance(engine, KnowsLatency)
    engine.execute()
    return engine.known_milliseconds()


@runtime_checkable
class Elsewhere(Protocol):
    """An engine on another machine, whose clock times it."""

    def milliseconds(self, repeats: int) -> float:
        """The mean of `repeats` executions, after one that is not measured."""

    def turns(self, engines: Sequence[Self], repeats: int) -> list[float]:
        """Readings of engines in turn, each after an unmeasured execution, in one request."""


def target_milliseconds(engine: Engine, repeats: int) -> float:
    """Time on the target, by its own clock."""
    assert isinstance(engine, Elsewhere)
    return engine.milliseconds(repeats)


STOPWATCHES: Mapping[str, Stopwatch] = MappingProxyType(
    {
        "target": target_milliseconds,
        "host": host_milliseconds,
        "processor": processor_milliseconds,
        "cuda": device_milliseconds,
        "known": known_milliseconds,
    }
)


def pair(
    reference: Engine,
    candidate: Engine,
    backend: Backend,
    timing: TimingSection,
    *,
    others: Sequence[tuple[Engine, Engine]] = (),
    settled: Callable[[Interval], bool] = lambda _: False,
) -> Latency:
    """Paired latency of two prepared engines.

    Args:
        reference, candidate: `prepare`d by the caller, so that copies stay out of the number.
        backend: names the stopwatch, and reads the clocks before and after.
        timing: when rounds end. What only more builds would narrow is left out of the ratio's interval; where
            the ratio is `settled`, 20 rounds do. Both engines warm up before the first round, unmeasured.
        others: prepared builds of the same two models; rounds take all builds in turn.
        settled: told the ratio's interval, says that it is narrow enough for what it is to decide.
    """
    watch, builds = STOPWATCHES[backend.stopwatch], [(reference, candidate), *others]
    for pairs in builds:
        for engine in pairs:
            for _ in range(timing.warmup):
                engine.execute()
            engine.synchronize()
    # Of the quicker one: with as many repeats, the readings of both are longer than the grain.
    grain = min(watch(reference, 3), watch(candidate, 3))
    repeats = math.ceil(_GRAIN_MS / max(grain, 1e-6))
    rounds = Rounds(BUILD_SPREAD.get(backend.stopwatch, 0.0) / math.sqrt(len(builds)))
    looks = looks_after(timing.minimum_rounds)
    before, deadline, look = backend.clocks(), Deadline(timing.seconds), next(looks)
    with _no_garbage_collection():
        while rounds.count < timing.minimum_rounds or not (
            deadline.is_over or rounds.spent_ms > timing.seconds * 1e3
        ):
            if rounds.count >= look:
                is_narrow = rounds.count >= timing.minimum_rounds and rounds.width <= timing.interval
                if settled(rounds.interval) or is_narrow:
                    break
                look = next(looks)
            # On a target all rounds up to the next look in one journey, as each waits for the line; here one
            # by one, so that time is up when it is.
            turns = rounds.turns(builds, max(1, look - rounds.count) if backend.stopwatch == "target" else 1)
            rounds.add(_read(turns, watch, repeats))
    return rounds.latency(before=before, after=backend.clocks())


def _turn(engine: Engine, watch: Stopwatch, repeats: int) -> float:
    """One reading, after an unmeasured execution that fills the caches which the other engine emptied.

    Without it an engine of 4 ms beside one of 25 ms reads 6 to 8 % more than alone (2 MiB L2, 2026-11-23).
    """
    engine.execute()
    engine.synchronize()
    return watch(engine, repeats)


def _read(turns: Sequence[Engine], watch: Stopwatch, repeats: int) -> list[float]:
    """One reading of each engine, in this order; engines on a target take turns there."""
    first = turns[0]
    if isinstance(first, Elsewhere):
        return first.turns(turns, repeats)  # type: ignore[arg-type]  # all engines of a backend are elsewhere
    return [_turn(engine, watch, repeats) for engine in turns]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Hold off garbage collection: one in the middle of a round would count as latency."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
