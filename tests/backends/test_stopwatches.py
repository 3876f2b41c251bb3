"""Readings, deadlines and rounds on a clock that stands still between the steps of the test."""

from __future__ import annotations

import gc
import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import mstats, norm, t, trim_mean

from autoprec.backends import Backend, Engine
from autoprec.backends.clocks import clock_of
from autoprec.backends.ratios import BUILD_SPREAD, typical_ratio
from autoprec.backends.timing import STOPWATCHES, Deadline, Pace, elapsed, pair
from autoprec.records import Clocks, Fingerprint, Latency
from autoprec.spec import TimingSection


class Clock:
    """Seconds since the test began."""

    def __init__(self) -> None:
        self.now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    for name in ("perf_counter_ns", "process_time_ns"):
        monkeypatch.setattr(f"time.{name}", lambda: round(1e9 * clock.now))
    return clock


class Steady:
    """An engine that always takes as long, on the host or on a device."""

    def __init__(self, clock: Clock, ms: float) -> None:
        self._clock, self._ms, self._begun = clock, ms, 0.0
        self.executed = self.synchronized = 0
        self.collects = False

    def execute(self) -> None:
        self.executed += 1
        self._clock.now += self._ms / 1e3
        self.collects |= gc.isenabled()

    def synchronize(self) -> None:
        self.synchronized += 1

    def start_timer(self) -> None:
        self._begun = self._clock.now

    def stop_timer(self) -> float:
        return 1e3 * (self._clock.now - self._begun)

    def known_milliseconds(self) -> float:
        return self._ms


def paired(
    reference: Any, candidate: Any, stopwatch: str = "host", others: Any = (), **settings: float
) -> Latency:
    backend = cast(Backend, SimpleNamespace(stopwatch=stopwatch, clocks=Clocks))
    how = {"interval": 1e-9, "seconds": 0.0, "minimum_rounds": 6, "warmup": 2} | settings
    return pair(reference, candidate, backend, TimingSection(**how), others=others)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["host", "processor", "cuda"])
def test_a_reading_is_the_milliseconds_of_one_execution(name: str, clock: Clock) -> None:
    engine = Steady(clock, 3.0)
    assert STOPWATCHES[name](cast(Engine, engine), 5) == pytest.approx(3.0, rel=1e-9)
    assert engine.executed == 5
    assert engine.synchronized == (name != "cuda")


def test_short_executions_are_repeated_until_a_reading_takes_a_millisecond(clock: Clock) -> None:
    reference, candidate = Steady(clock, 0.5), Steady(clock, 0.3)
    latency = paired(reference, candidate)
    # 2 to warm up, 3 to see how short they are, and in 6 rounds 1 unmeasured and 4 measured ones
    assert reference.executed == candidate.executed == 2 + 3 + 6 * (1 + 4)
    assert reference.synchronized == 1 + 1 + 6 * 2
    assert latency.rounds == 6
    assert latency.ratio == pytest.approx(0.6)
    assert latency.median_ms == pytest.approx(0.3)


def test_what_takes_no_time_at_all_is_not_repeated_without_end(clock: Clock) -> None:
    readings = iter([0.0, 0.0, *[1.0] * 4])
    engine = cast(Any, SimpleNamespace(execute=lambda: None, synchronize=lambda: None))
    engine.known_milliseconds = lambda: next(readings)
    assert paired(engine, engine, "known", minimum_rounds=2).ratio == 1


def test_nothing_is_collected_while_engines_are_timed(clock: Clock) -> None:
    reference, candidate = Steady(clock, 2), Steady(clock, 1)
    paired(reference, candidate, warmup=0)
    reference.collects = candidate.collects = False
    gc.disable()
    try:
        paired(reference, candidate, warmup=0)
        assert not reference.collects
        assert not gc.isenabled(), "it was off before"
    finally:
        gc.enable()


def test_rounds_go_on_for_as_long_as_there_is_time_and_no_longer(clock: Clock) -> None:
    latency = paired(Steady(clock, 100), Steady(clock, 100), seconds=9.9, interval=-1.0)
    assert latency.rounds == 25  # a round takes both engines twice, 0.4 s


def test_a_target_may_be_a_processor_and_counts_as_one() -> None:
    assert BUILD_SPREAD["target"] == BUILD_SPREAD["processor"]


@pytest.mark.parametrize(("name", "spread"), [("host", 0.004), ("processor", 0.004), ("cuda", 0.001)])
@pytest.mark.parametrize("builds", [1, 4])
def test_readings_without_noise_leave_the_luck_of_builds(
    name: str, spread: float, builds: int, clock: Clock
) -> None:
    engines = [(Steady(clock, 10), Steady(clock, 5)) for _ in range(builds)]
    latency = paired(*engines[0], name, others=engines[1:], minimum_rounds=8)
    reach = math.exp(norm.ppf(0.975) * spread / math.sqrt(builds))
    assert latency.ratio_interval.high == pytest.approx(0.5 * reach, rel=1e-6)
    assert latency.ratio_interval.low == pytest.approx(0.5 / reach, rel=1e-6)


@pytest.mark.parametrize("count", [2, 4, 5, 11, 60])
def test_the_interval_is_that_of_a_trimmed_mean(count: int) -> None:
    logs = np.sort(np.random.default_rng(count).normal(size=count))
    ratio, interval = typical_ratio(np.exp(logs).tolist())
    kept = count - 2 * int(0.2 * count)
    # SciPy takes the share that is asked for, not the one that is kept, for what is left.
    reach = t.ppf(0.975, kept - 1) * mstats.trimmed_stde(logs, (0.2, 0.2)) * 0.6 * count / kept
    assert ratio == pytest.approx(math.exp(trim_mean(logs, 0.2)))
    assert math.log(interval.high / ratio) == pytest.approx(reach)
    assert math.log(ratio / interval.low) == pytest.approx(reach)
    assert interval.level == 0.95


def test_a_deadline_says_what_is_left_and_what_is_over(clock: Clock) -> None:
    clock.now = 100.0
    deadline, never = Deadline(10), Deadline(None)
    for passed, left, share in ((0, 10, 0), (4, 6, 0.4), (10, 0, 1), (15, 0, 1)):
        clock.now = 100.0 + passed
        assert deadline.spent == passed
        assert deadline.left == pytest.approx(left)
        assert deadline.share == pytest.approx(share)
        assert deadline.is_over == (passed >= 10)
    assert (never.left, never.share, never.is_over) == (math.inf, 0, False)
    assert Deadline(0).share == 0, "it has only just begun"
    short = Deadline(0.01)
    clock.now += 0.0025
    assert short.share == pytest.approx(0.25)


def test_a_long_task_says_every_ten_seconds_how_far_it_is(clock: Clock) -> None:
    clock.now = 1000.0
    pace, lines = Pace(100, start=10), []
    for now, done in ((0, 10), (9.9, 15), (10, 20), (19, 25), (30, 25), (31, 99), (40, 10), (40, 90)):
        clock.now = 1000.0 + now
        lines.append(pace.line(done))
    assert lines == [
        "",
        "",
        "20 of 100, 80 s left",
        "",
        "25 of 100, 2 min left",
        "",
        "",
        "90 of 100, 5 s left",
    ]


def test_the_time_of_a_very_long_task_is_told_in_minutes(clock: Clock) -> None:
    pace = Pace(1001)
    clock.now = 18.0
    assert pace.line(1) == "1 of 1001, 300 min left"


def test_a_stage_has_taken_no_time_until_it_ends(clock: Clock) -> None:
    with elapsed() as stage:
        clock.now += 2.5
        assert stage.seconds == 0
    assert stage.seconds == 2.5


def test_on_a_target_all_rounds_up_to_the_next_look_are_one_journey(clock: Clock) -> None:
    journeys: list[int] = []

    class Far(Steady):
        def milliseconds(self, repeats: int) -> float:
            return 3.0

        def turns(self, engines: list[Any], repeats: int) -> list[float]:
            journeys.append(len(engines) // 2)
            return [3.0] * len(engines)

    paired(Far(clock, 3), Far(clock, 3), "target", minimum_rounds=50, seconds=0.1)
    assert journeys == [20, 30]


def test_rounds_end_once_the_interval_is_as_narrow_as_was_asked_for(clock: Clock) -> None:
    latency = paired(Steady(clock, 10), Steady(clock, 5), seconds=100, interval=0.0)
    assert latency.rounds == 6


def test_the_clocks_are_read_before_the_rounds_and_again_after_them(clock: Clock) -> None:
    engine = Steady(clock, 1.0)
    backend = SimpleNamespace(stopwatch="host", clocks=lambda: Clocks(sm_mhz=1000 + engine.executed))
    section = TimingSection(interval=1e-9, seconds=0.0, minimum_rounds=6, warmup=2)
    latency = pair(cast(Engine, engine), cast(Engine, engine), cast(Backend, backend), section)
    assert latency.after == Clocks(sm_mhz=1000 + engine.executed)
    assert latency.before.sm_mhz is not None
    assert latency.before.sm_mhz < 1000 + engine.executed


class Added:
    """A backend that somebody has added to the table."""

    stopwatch = "processor"


def test_the_clock_of_a_backend_that_is_added_is_told_by_its_stopwatch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place in ("autoprec.backends.BACKENDS", "autoprec.backends.clocks.BACKENDS"):
        monkeypatch.setattr(place, {"added": (__name__, "Added")})
    engine = Fingerprint(backend="added", version="1", device="CPU", options="")
    assert clock_of(engine) == "processor time on one thread"
