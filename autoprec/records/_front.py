"""Which trials are on the Pareto front: the store's table, plots and everybody else decide alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from autoprec.records._base import Interval
from autoprec.records.blocks import Assignment
from autoprec.records.studies import TrialRecord


class Point(NamedTuple):
    """What decides about a complete trial; `assignment` is the digest."""

    number: int
    assignment: str
    latency_ms: float
    loss: float


def pareto_numbers(points: Iterable[Point]) -> tuple[int, ...]:
    """Numbers of the points that no other one beats in both objectives, fastest first.

    The latest measurement of an assignment counts; of points equal in both objectives, the earliest does.
    """
    latest = {
        point.assignment: point
        for point in sorted(points)
        if math.isfinite(point.latency_ms) and math.isfinite(point.loss)
    }
    front: list[int] = []
    least = math.inf
    for point in sorted(latest.values(), key=lambda p: (p.latency_ms, p.loss, p.number)):
        if point.loss < least:
            front.append(point.number)
            least = point.loss
    return tuple(front)


def wrong_assignments(trials: Iterable[TrialRecord]) -> frozenset[Assignment]:
    """Assignments on which the engine was found to compute something else than their files."""
    return frozenset(t.assignment for t in trials if t.failure is not None and t.failure.kind == "wrong")


def pareto(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The Pareto front of `trials` by (latency_ms, loss), fastest first; see `pareto_numbers`.

    Failed, running and NaN trials never count, nor those over a limit, nor reused ones (the trial that was
    measured does), nor any of an assignment that the engine is wrong on.
    """
    known = tuple(trials)
    wrong = wrong_assignments(known)
    measured = {
        t.number: t
        for t in known
        if t.state == "complete" and t.reused_from is None and t.excess_mb <= 0 and t.assignment not in wrong
    }
    points = (Point(t.number, t.assignment.digest, t.latency_ms, t.loss) for t in measured.values())
    return tuple(measured[number] for number in pareto_numbers(points))


def surely_dominated(
    latency_ms: Interval, loss: Interval, front: Sequence[tuple[Interval, Interval]]
) -> bool:
    """Whether some point of `front` (latency_ms, loss) is better in both, even at worst against best."""
    return any(
        other_latency.high < latency_ms.low and other_loss.high < loss.low
        for other_latency, other_loss in front
    )
