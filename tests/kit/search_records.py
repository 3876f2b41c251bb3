"""Trial records for tests of strategies, and a search that is nothing but a strategy and a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from autoprec.errors import FailureKind
from autoprec.records import Assignment, Failure, Measurement, Origin, TrialRecord
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
    begun = running(number, assignment, origin)
    measurement = Measurement.of_objectives(*values, reference_ms=10.0)
    return replace(begun, state="complete", measurement=measurement, excess_mb=excess_mb)


def failed(number: int, assignment: Assignment, kind: FailureKind = "build") -> TrialRecord:
    begun = running(number, assignment)
    return replace(begun, state="failed", failure=Failure(kind=kind, message="no kernel"))


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
