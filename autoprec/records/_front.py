"""How measurements of an assignment count, and which assignments are on the Pareto front.

One rule for the store's table, plots, reports, comparisons and exports: all measurements of an assignment are
pooled, because the best of many noisy timings is partly luck, and so is the latest one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

import msgspec

from autoprec.records._base import Interval
from autoprec.records.blocks import Assignment
from autoprec.records.measurements import Latency, Quality
from autoprec.records.studies import TrialRecord


class Point(NamedTuple):
    """What decides whether a complete trial is on the front; `assignment` is the digest."""

    number: int
    assignment: str
    latency_ms: float
    loss: float


def pareto_numbers(points: Iterable[Point]) -> tuple[int, ...]:
    """Numbers of the points that no other one beats in both objectives, fastest first.

    All measurements of an assignment are pooled under the number of the latest; of points equal in both
    objectives, the earliest counts.
    """
    measured: dict[str, list[Point]] = {}
    # By number, so that the latest measurement comes last.
    for point in sorted(points):
        if math.isfinite(point.latency_ms) and math.isfinite(point.loss):
            measured.setdefault(point.assignment, []).append(point)
    pooled = (
        point[-1]._replace(latency_ms=fmean(p.latency_ms for p in point), loss=fmean(p.loss for p in point))
        for point in measured.values()
    )
    front: list[int] = []
    least = math.inf
    for point in sorted(pooled, key=lambda p: (p.latency_ms, p.loss, p.number)):
        # Below, not at: a slower point of the same loss is beaten, and of equal points the first stays.
        if point.loss < least:
            front.append(point.number)
            least = point.loss
    return tuple(front)


def wrong_assignments(trials: Iterable[TrialRecord]) -> frozenset[Assignment]:
    """Assignments whose files the engine was found to compute wrongly, in the latest verdict on each.

    Only a mended judge lets an assignment be measured again, so a later measurement acquits it.
    """
    verdicts: dict[Assignment, bool] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        is_wrong = trial.failure is not None and trial.failure.kind == "wrong"
        if is_wrong or (trial.state == "complete" and trial.reused_from is None):
            verdicts[trial.assignment] = is_wrong
    return frozenset(assignment for assignment, is_wrong in verdicts.items() if is_wrong)


def counting(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """One record for each measured assignment, by number: its latest trial with the pooled figures of all.

    `pooled` has the numbers of the earlier trials. Failed, running and NaN trials do not count, nor trials
    over a limit, nor reused measurements (the original does), nor any trial of an assignment that the engine
    computes wrongly.
    """
    ordered = sorted(trials, key=lambda trial: trial.number)
    wrong = wrong_assignments(ordered)
    measured: dict[Assignment, list[TrialRecord]] = {}
    for t in ordered:
        # A loss of NaN is below no limit, but sorts anywhere: one such trial would shuffle the front.
        is_whole = t.state == "complete" and math.isfinite(t.latency_ms) and math.isfinite(t.loss)
        if is_whole and t.reused_from is None and t.excess_mb <= 0 and t.assignment not in wrong:
            measured.setdefault(t.assignment, []).append(t)
    return tuple(sorted(map(_pooled, measured.values()), key=lambda trial: trial.number))


def anchors(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The counting records of the uniform assignments that every study measures first, fastest first."""
    labelled = (t for t in counting(trials) if t.label and not t.assignment.weights)
    return tuple(sorted(labelled, key=lambda trial: trial.latency_ms))


def as_counted(record: TrialRecord, trials: Iterable[TrialRecord]) -> TrialRecord:
    """A trial under its own number with the pooled figures of its assignment; unchanged if nothing counts."""
    others = (trial for trial in trials if trial.assignment == record.assignment)
    if record.measurement is None or not (counts := counting(others)):
        return record
    numbers = {*counts[0].pooled, counts[0].number} - {record.number}
    return msgspec.structs.replace(record, measurement=counts[0].measurement, pooled=tuple(sorted(numbers)))


def pareto(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The Pareto front of the counting `trials` by (latency_ms, loss), fastest first."""
    counts = {trial.number: trial for trial in counting(trials)}
    points = (Point(t.number, t.assignment.digest, t.latency_ms, t.loss) for t in counts.values())
    return tuple(counts[number] for number in pareto_numbers(points))


class LiveFront:
    """The front of trials that arrive one by one.

    A trial is compared with the front alone, except where its assignment is known already: pooling or a
    verdict of wrong may uncover points behind the front, so all are then judged anew.
    """

    def __init__(self) -> None:
        self._all: dict[int, TrialRecord] = {}
        self._digests: set[str] = set()
        """Digests of assignments that were measured, or computed wrongly."""
        self._front: tuple[TrialRecord, ...] = ()
        self._is_stale = False

    def add(self, record: TrialRecord) -> None:
        """Add a trial, or its outcome."""
        is_wrong = record.failure is not None and record.failure.kind == "wrong"
        if record.state != "complete" and not is_wrong:
            return
        digest = record.assignment.digest
        self._is_stale |= digest in self._digests
        self._digests.add(digest)
        self._all[record.number] = record
        if not self._is_stale:
            self._front = pareto((*self._front, record))

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """The front of all trials, fastest first."""
        if self._is_stale:
            self._front, self._is_stale = pareto(self._all.values()), False
        return self._front


def surely_dominated(
    latency_ms: Interval, loss: Interval, front: Sequence[tuple[Interval, Interval]]
) -> bool:
    """Whether some point of `front` (latency_ms, loss) is better in both, its worst case against the best."""
    return any(
        other_latency.high < latency_ms.low and other_loss.high < loss.low
        for other_latency, other_loss in front
    )


def _pooled(trials: Sequence[TrialRecord]) -> TrialRecord:
    """The latest of an assignment's trials, with the means of all."""
    last = trials[-1]
    measurements = [trial.measurement for trial in trials if trial.measurement is not None]
    if len(measurements) < 2:
        return last
    measurement = msgspec.structs.replace(
        measurements[-1],
        latency=_latency([one.latency for one in measurements]),
        quality=_quality([one.quality for one in measurements]),
        latency_ms=fmean(one.latency_ms for one in measurements),
    )
    return msgspec.structs.replace(
        last, measurement=measurement, pooled=tuple(trial.number for trial in trials[:-1])
    )


def _latency(latencies: Sequence[Latency]) -> Latency:
    """The means of several latencies."""
    ratio = fmean(one.ratio for one in latencies)
    # The interval narrows like that of independent means, but never below the spread of the ratios: builds
    # and minutes vary by more than the rounds of one measurement show.
    inside = math.hypot(*((one.ratio_interval.high - one.ratio_interval.low) / 2 for one in latencies))
    apart = max(abs(one.ratio - ratio) for one in latencies)
    half = max(inside / len(latencies), apart)
    # A wide spread may exceed the ratio itself, but no latency is 0 or less.
    low, high = min(ratio, max(ratio - half, ratio / 1000)), ratio + half
    return msgspec.structs.replace(
        latencies[-1],
        median_ms=fmean(one.median_ms for one in latencies),
        p10_ms=fmean(one.p10_ms for one in latencies),
        p90_ms=fmean(one.p90_ms for one in latencies),
        rounds=sum(one.rounds for one in latencies),
        reference_median_ms=fmean(one.reference_median_ms for one in latencies),
        ratio=ratio,
        ratio_interval=Interval(low=low, high=high, level=latencies[-1].ratio_interval.level),
    )


def _quality(qualities: Sequence[Quality]) -> Quality:
    """The means of several qualities."""
    last = qualities[-1]
    names = ("loss", "miou", "boundary_iou", "worst_loss", "logit_error", "truth_miou", "truth_score")
    means = {
        name: fmean(values)
        for name in names
        if None not in (values := [getattr(one, name) for one in qualities])
    }
    interval = Interval(
        # The mean of the intervals too: scoring the same samples again says nothing more about others.
        low=fmean(one.loss_interval.low for one in qualities),
        high=fmean(one.loss_interval.high for one in qualities),
        level=last.loss_interval.level,
    )
    return msgspec.structs.replace(last, loss_interval=interval, **means)
