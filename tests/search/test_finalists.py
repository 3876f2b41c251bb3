from __future__ import annotations

from autoprec.records import (
    Assignment,
    Interval,
    Latency,
    Measurement,
    Origin,
    Quality,
    StageSeconds,
    TrialRecord,
    surely_dominated,
)
from autoprec.search import finalists


def trial(name: str, latency_ms: float, loss: float, origin: Origin = "search") -> TrialRecord:
    interval = Interval(low=0.0, high=1.0)
    latency = Latency(
        median_ms=latency_ms,
        p10_ms=latency_ms,
        p90_ms=latency_ms,
        rounds=20,
        reference_median_ms=10.0,
        ratio=latency_ms / 10.0,
        ratio_interval=interval,
    )
    quality = Quality(
        loss=loss, loss_interval=interval, miou=1 - loss, boundary_iou=1.0, worst_loss=loss, logit_error=0.0
    )
    measurement = Measurement(
        latency=latency,
        quality=quality,
        latency_ms=latency_ms,
        engine_bytes=0,
        peak_memory_bytes=0,
        audit=(),
        seconds=StageSeconds(),
    )
    return TrialRecord(
        study="s",
        number=0,
        state="complete",
        origin=origin,
        label="",
        assignment=named(name),
        fingerprint="",
        start="",
        measurement=measurement,
    )


def named(name: str) -> Assignment:
    return Assignment(choices=(("block", name),))


def test_the_point_that_gains_most_on_the_front_is_checked_first() -> None:
    trials = [
        trial("slow", 10, 0.0),
        trial("lucky", 6, 0.01),
        trial("close", 5.9, 0.05),
        trial("fast", 5, 0.1),
    ]
    assert finalists(trials, 1) == (named("lucky"),)


def test_what_is_behind_the_front_comes_after_all_of_the_front() -> None:
    trials = [trial("hidden", 7, 0.02), trial("a", 10, 0.0), trial("b", 6, 0.01)]
    assert set(finalists(trials, 2)) == {named("a"), named("b")}
    assert finalists(trials, 3)[2] == named("hidden")


def test_what_was_measured_again_gives_way_to_what_was_not() -> None:
    trials = [trial("a", 10, 0.0), trial("b", 6, 0.01), trial("c", 5, 0.1)]
    assert finalists([*trials, trial("b", 6.2, 0.01, "finalist")], 3)[-1] == named("b")


def test_a_second_measurement_can_take_a_lucky_one_off_the_front() -> None:
    trials = [trial("lucky", 5, 0.05), trial("steady", 6, 0.04), trial("lucky", 9, 0.05, "finalist")]
    assert finalists(trials, 1) == (named("steady"),)


def test_reused_measurements_are_not_evidence_of_their_own() -> None:
    trials = [trial("a", 10, 0.0), trial("a", 10, 0.0, "reused"), trial("b", 5, 0.1)]
    assert set(finalists(trials, 9)) == {named("a"), named("b")}
    assert finalists([], 3) == ()


def test_a_candidate_is_dropped_only_when_even_its_best_is_worse() -> None:
    front = [(Interval(low=4.9, high=5.0), Interval(low=0.01, high=0.02))]
    assert surely_dominated(Interval(low=5.1, high=5.2), Interval(low=0.03, high=0.2), front)
    assert not surely_dominated(Interval(low=5.1, high=5.2), Interval(low=0.015, high=0.2), front)
    assert not surely_dominated(Interval(low=4.8, high=5.2), Interval(low=0.03, high=0.2), front)
    assert not surely_dominated(Interval(low=9.0, high=9.1), Interval(low=0.9, high=1.0), [])
