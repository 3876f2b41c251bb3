"""Comparing two studies, or one study after different nights: what changed, and what is noise.

Speed-ups are compared, not milliseconds: each is a paired ratio to its own study's reference, so another GPU
or a slower night does not look like a change of the assignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autoprec.errors import StudyError
from autoprec.records import (
    Comparison,
    Figures,
    Identity,
    Interval,
    Match,
    Measurement,
    Movement,
    Reference,
    Side,
    TrialRecord,
    counting,
)
from autoprec.report import shares
from autoprec.search.fronts import hypervolume
from autoprec.store import Store
from autoprec.study.definition import find_spec
from autoprec.study.findings.explanation import VISIBLE_LOSS
from autoprec.study.findings.reporting import USEFUL_LOSS

LOSSES = (0.001, 0.003, 0.01, 0.03, 0.05)
"""The fastest points within each of these losses are compared."""


class ComparedStudy(NamedTuple):
    """One side of a comparison."""

    name: str
    identity: Identity
    reference: Reference
    trials: tuple[TrialRecord, ...]

    @property
    def counting(self) -> tuple[TrialRecord, ...]:
        """One record for each assignment: see `records.counting`."""
        return counting(self.trials)


def compare(first: str, second: str) -> Comparison:
    """Compare two studies by name or path; `NAME@2` is a study as it was after its second night.

    Raises `StudyError` for a study without a reference, or a night that does not exist.
    """
    return compared(_load(first), _load(second))


def compared(ours: ComparedStudy, theirs: ComparedStudy) -> Comparison:
    """Compare the measurements of two sides. Raises `StudyError` if both are the same evidence."""
    if ours.identity == theirs.identity and _starts(ours) == _starts(theirs):
        raise StudyError(
            f"{ours.name} and {theirs.name} are the same {len(ours.trials)} trials: name two nights, as in "
            f"{ours.name.partition('@')[0]}@1, or two studies"
        )
    return Comparison(
        first=_side(ours),
        second=_side(theirs),
        differs=tuple(_differences(ours.identity, theirs.identity)),
        loss_limit=USEFUL_LOSS,
        fastest=tuple(_fastest(ours, theirs)),
        repeated=tuple(_repeated(ours, theirs)),
    )


def _load(where: str) -> ComparedStudy:
    """The evidence of `NAME` or `NAME@NIGHT`."""
    name, _, night = where.partition("@")
    if night and not night.isdecimal():
        raise StudyError(f"{where!r}: {night!r} is not a night; give a number, as in {name}@1")
    spec = find_spec(name or None)
    with Store.open(spec.database, read_only=True) as store:
        reference, trials = store.reference(spec.name), store.trials(spec.name)
        firsts = [run.first for run in store.runs(spec.name)]
        identity = store.identity(spec.name)
    if reference is None:
        raise StudyError(f"study {spec.name!r} has no reference yet: run `autoprec search` first")
    if night and not 1 <= int(night) <= len(firsts):
        raise StudyError(f"study {spec.name!r} has no night {night}; it has had {len(firsts)}")
    # Up to the next night's first trial, since numbers go on from night to night.
    if night and int(night) < len(firsts):
        trials = tuple(trial for trial in trials if trial.number < firsts[int(night)])
    return ComparedStudy(where, identity, reference, trials)


def _starts(side: ComparedStudy) -> list[tuple[int, str]]:
    """What tells trials apart, also between copies of a study: number and start."""
    return [(trial.number, trial.start) for trial in side.trials]


def _side(side: ComparedStudy) -> Side:
    # By ratios, so that the area does not depend on how fast the machine is.
    points = np.array([(t.measurement.latency.ratio, t.loss) for t in side.counting if t.measurement])
    area = hypervolume(points.reshape(-1, 2), np.array((1.0, USEFUL_LOSS))) / USEFUL_LOSS
    return Side(
        name=side.name,
        engine=side.identity.fingerprint,
        reference=side.reference.precision,
        reference_ms=side.reference.latency_ms,
        latency_noise=side.reference.latency_noise,
        loss_noise=side.reference.loss_noise,
        trials=sum(t.measurement is not None and t.reused_from is None for t in side.trials),
        area=area,
        workers=shares(side.trials),
    )


def _differences(ours: Identity, theirs: Identity) -> Sequence[str]:
    """What differs between the sides besides their trials, and may explain a change."""
    first, second = ours.fingerprint, theirs.fingerprint
    fields = ("backend", "version", "device", "options")
    differences = [
        f"{field}: {getattr(first, field) or 'none'}, then {getattr(second, field) or 'none'}"
        for field in fields
        if getattr(first, field) != getattr(second, field)
    ]
    named = {"model": "the model", "samples": "the samples", "spec": "the definition", "blocks": "the blocks"}
    return differences + [
        words for field, words in named.items() if getattr(ours, field) != getattr(theirs, field)
    ]


def _fastest(ours: ComparedStudy, theirs: ComparedStudy) -> Sequence[Match]:
    """The fastest trials within each loss, where both sides have one."""
    matches, counts = [], (ours.counting, theirs.counting)
    for limit in LOSSES:
        fit = [[t for t in side if t.loss <= limit] for side in counts]
        if all(fit):
            first, second = (min(trials, key=lambda t: t.latency_ms) for trials in fit)
            matches.append(_match(f"loss {limit:g}", first, second, ours, theirs))
    return matches


def _repeated(ours: ComparedStudy, theirs: ComparedStudy) -> Sequence[Match]:
    """Assignments that both sides measured by themselves, fastest first."""
    # Of two nights of one study, the later one contains the trials of the earlier: those are no second
    # measurement.
    starts = set(_starts(ours))
    again = counting(trial for trial in theirs.trials if (trial.number, trial.start) not in starts)
    later = {trial.assignment: trial for trial in again}
    pairs = [(trial, later[trial.assignment]) for trial in ours.counting if trial.assignment in later]
    pairs.sort(key=lambda pair: pair[0].latency_ms)
    return [_match(first.label, first, second, ours, theirs) for first, second in pairs]


def _match(
    what: str, first: TrialRecord, second: TrialRecord, ours: ComparedStudy, theirs: ComparedStudy
) -> Match:
    assert first.measurement is not None
    assert second.measurement is not None
    # Either side's noise may explain a difference.
    noise = max(ours.reference.latency_noise, theirs.reference.latency_noise)
    tolerance = max(ours.reference.loss_floor, theirs.reference.loss_floor, VISIBLE_LOSS)
    before, after = _speed(first.measurement), _speed(second.measurement)
    same_samples = ours.identity.samples == theirs.identity.samples
    return Match(
        what=what,
        first=Figures(first.number, *before, first.loss),
        second=Figures(second.number, *after, second.loss),
        speed=_verdict(before[1], after[1], noise),
        masks=_masks(first.measurement, second.measurement, tolerance, same_samples=same_samples),
    )


def _speed(measured: Measurement) -> tuple[float, Interval]:
    """Speed-up over the reference and its interval."""
    ratio = measured.latency.ratio_interval
    return 1 / measured.latency.ratio, Interval(low=1 / ratio.high, high=1 / ratio.low, level=ratio.level)


def _verdict(before: Interval, after: Interval, noise: float) -> Movement:
    """How a figure moved that should be large: only if the intervals are apart by more than the noise."""
    if after.low > before.high * (1 + noise):
        return "better"
    return "worse" if after.high * (1 + noise) < before.low else "same"


def _masks(before: Measurement, after: Measurement, tolerance: float, *, same_samples: bool) -> Movement:
    """How mask losses moved."""
    first, second = before.quality, after.quality
    if abs(second.loss - first.loss) <= tolerance:
        return "same"
    # The intervals are about the choice of samples: on the same ones, anything beyond the noise is a change.
    if same_samples:
        return "better" if second.loss < first.loss else "worse"
    if second.loss_interval.high < first.loss_interval.low:
        return "better"
    return "worse" if second.loss_interval.low > first.loss_interval.high else "same"
