"""Trial records for tests of strategies, and a search that is nothing but a strategy and a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autoprec.errors import FailureKind
from autoprec.records import (
    Assignment,
    Failure,
    Interval,
    Latency,
    Measurement,
    Origin,
    Quality,
    StageSeconds,
    TrialRecord,
)
from autoprec.search import Strategy

Values = tuple[float, float]
Measure = Callable[[Assignment], Values | None]


def running(number: int, assignment: Assignment, origin: Origin = "search") -> TrialRecord:
    return TrialRecord(
        study="s",
        number=number,
        state="running",
        origin=origin,
        label="",
        assignment=assignment,
        fingerprint="",
        start="",
    )


def complete(
    number: int, assignment: Assignment, values: Values, origin: Origin = "search", excess_mb: float = 0.0
) -> TrialRecord:
    latency_ms, loss = values
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
        number=number,
        state="complete",
        origin=origin,
        label="",
        assignment=assignment,
        fingerprint="",
        start="",
        measurement=measurement,
        excess_mb=excess_mb,
    )


def failed(number: int, assignment: Assignment, kind: FailureKind = "build") -> TrialRecord:
    return TrialRecord(
        study="s",
        number=number,
        state="failed",
        origin="search",
        label="",
        assignment=assignment,
        fingerprint="",
        start="",
        failure=Failure(kind=kind, message="no kernel"),
    )


def outcome(number: int, assignment: Assignment, values: Values | None) -> TrialRecord:
    return failed(number, assignment) if values is None else complete(number, assignment, values)


def search(
    strategy: Strategy, trials: int, measure: Measure, first: Sequence[Assignment] = ()
) -> list[TrialRecord]:
    """The records of `first` and then of `trials` proposals, fewer where nothing is left."""
    records = [outcome(number, assignment, measure(assignment)) for number, assignment in enumerate(first)]
    strategy.learn(records)
    for _ in range(trials):
        for assignment in strategy.propose():
            records.append(outcome(len(records), assignment, measure(assignment)))
            strategy.learn(records[-1:])
    return records
