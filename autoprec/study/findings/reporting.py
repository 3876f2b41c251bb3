"""Gathering what a report shows: the stored evidence, and inspections of the best points."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import fmean

import msgspec
import numpy as np

from autoprec.backends import EMBEDDED
from autoprec.backends.clocks import clock_of
from autoprec.errors import StudyError, TrialError, UserError
from autoprec.measurement import Bench
from autoprec.records import (
    Assignment,
    Explanation,
    Findings,
    Identity,
    NightSummary,
    Reference,
    TrialRecord,
    counting,
    wrong_assignments,
)
from autoprec.report import marks
from autoprec.search.fronts import hypervolume
from autoprec.spec import StudySpec
from autoprec.store import Store
from autoprec.study.findings.explanation import Explainer
from autoprec.study.findings.inspections import Inspections
from autoprec.study.night.priors import sensitivities
from autoprec.study.preparation import Prepared
from autoprec.study.preparation.fidelity import departures
from autoprec.study.shipping.picks import choose, picks

SHOWN = 12
"""Front points that are run again and shown in full; the rest appear only in the plots."""
USEFUL_LOSS = 0.05
"""The area behind the front counts up to this mask loss, beyond which masks are of little use."""
PACKAGES = ("autoprec", "numpy", "onnx", "optuna", EMBEDDED)


def gather(
    spec: StudySpec, store: Store, *, runs: bool, say: Callable[[str], None] = lambda _: None
) -> Findings:
    """Gather everything that a report shows. Without `runs`, no engine runs, and there are no pictures.

    Args:
        spec: the study's definition.
        store: its database.
        runs: whether engines may run.
        say: receives a line about each slow step, and each trial that could not be inspected.
    """
    name = spec.name
    trials, front, reference = store.trials(name), store.front(name), store.reference(name)
    identity, blocks = store.identity(name), store.blocks(name)
    picked = _pick(front, reference)
    shown = _shown(front, picked)
    inspections = Inspections(spec, identity, say)
    seen, usual = inspections.ensured(shown) if runs else inspections.stored(shown)
    if not runs:
        seen = {
            number: msgspec.structs.replace(inspection, pictures=()) for number, inspection in seen.items()
        }
    explanations = {}
    if reference is not None:
        base, sensitivity = _base(identity), sensitivities(store, name)
        explainer = Explainer(blocks, trials, reference, base=base, sensitivity=sensitivity, usual=usual)
        explanations = {t.number: explainer.explain(t, seen.get(t.number)) for t in shown}
    # One corner for all nights, or their areas could not be compared.
    corner = _corner(trials, reference)
    volumes = _volumes(trials, corner)
    return Findings(
        study=name,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=(*((p, version(p)) for p in PACKAGES), ("python", platform.python_version())),
        definition=msgspec.json.format(msgspec.json.encode(spec), indent=2).decode(),
        blocks=blocks,
        identity=identity,
        reference=reference,
        trials=trials,
        front=front,
        picked=picked,
        marks=_marks(spec, front, reference),
        nights=_nights(store, name, trials, volumes),
        corner=corner,
        volumes=volumes,
        sensitivity=sensitivities(store, name),
        explanations=explanations,
        inspections=seen,
        usual=usual,
        clock=clock_of(identity.fingerprint),
        missing=tuple(inspections.missing),
        fidelity=departures(store, name),
    )


def explain_trial(
    spec: StudySpec,
    store: Store,
    number: int,
    *,
    runs: bool,
    say: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """Explain one trial.

    Args:
        spec: the study's definition.
        store: its database.
        number: the trial's number.
        runs: whether engines may run.
        say: receives a line about each slow step, and each trial that could not be inspected.

    Raises `StudyError` for a trial that does not exist, or was not measured.
    """
    name = spec.name
    record, reference, identity = store.trial(name, number), store.reference(name), store.identity(name)
    if reference is None:
        raise StudyError(f"study {name!r} has no reference yet: run `autoprec search` first")
    inspections = Inspections(spec, identity, say)
    wanted = [record] if record.measurement is not None else []
    seen, usual = inspections.ensured(wanted) if runs else inspections.stored(wanted)
    explainer = Explainer(
        store.blocks(name),
        store.trials(name),
        reference,
        base=_base(identity),
        sensitivity=sensitivities(store, name),
        usual=usual,
    )
    for line in inspections.missing:
        say(line)
    return explainer.explain(record, seen.get(number))


def _base(identity: Identity) -> str:
    """The float precision around the integers of quantised blocks."""
    assert identity.basis is not None, "the store types identities of every version"
    return identity.basis.base


def _pick(front: Sequence[TrialRecord], reference: Reference | None) -> int | None:
    """Number of the trial that `export` picks by default; None if there is none."""
    try:
        return choose(front, reference).number if reference else None
    except StudyError:
        return None


def _marks(spec: StudySpec, front: Sequence[TrialRecord], reference: Reference | None) -> dict[int, str]:
    accepted = spec.search.accepted_loss
    return marks(picks(front, reference, accepted), accepted) if reference is not None else {}


def look_ahead(
    prepared: Prepared, store: Store, bench: Bench, say: Callable[[str], None], going: Callable[[], bool]
) -> None:
    """Inspect at the end of a run what a report will show, while `going`.

    Args:
        prepared: rewrites the candidates.
        store: the study's database.
        bench: runs them.
        say: receives a line about each trial that could not be inspected.
        going: called before each trial; False ends the inspection.
    """
    name = prepared.spec.name
    front = store.front(name)
    inspections = Inspections(prepared.spec, store.identity(name), say)
    try:
        records = _shown(front, _pick(front, store.reference(name)))
        inspections.look(prepared, bench, records, going)
    except (UserError, TrialError) as error:
        inspections.missing.append(f"the report will have to run the front's points: {error}")
    for line in inspections.missing:
        say(line)


def _shown(front: Sequence[TrialRecord], picked: int | None) -> tuple[TrialRecord, ...]:
    """At most `SHOWN` points spread evenly over the front, with its ends, and the picked one."""
    places = {round(place) for place in np.linspace(0, len(front) - 1, min(SHOWN, len(front)))}
    numbers = {front[place].number for place in places} | {picked}
    return tuple(record for record in front if record.number in numbers)


def _corner(trials: Sequence[TrialRecord], reference: Reference | None) -> tuple[float, float]:
    """The worst values that count: the reference's latency in ms, and a mask loss."""
    slowest = max((t.latency_ms for t in trials if t.measurement is not None), default=1.0)
    return (reference.latency_ms if reference else slowest), USEFUL_LOSS


def _volumes(trials: Sequence[TrialRecord], corner: tuple[float, float]) -> tuple[tuple[int, float], ...]:
    """The area behind the front after each complete trial, by trial number, relative to the corner's
    rectangle.

    Measurements are pooled as they came, so it falls where a second measurement is worse than the first.
    """
    wrong = wrong_assignments(trials)
    measured: dict[Assignment, list[tuple[float, float]]] = {}
    means: dict[Assignment, tuple[float, float]] = {}
    volumes = []
    for trial in trials:
        # What was found to be wrong later counts from no trial on: its points never were on a front.
        if counting((trial,)) and trial.assignment not in wrong:
            measured.setdefault(trial.assignment, []).append((trial.latency_ms, trial.loss))
            latencies, losses = zip(*measured[trial.assignment], strict=True)
            means[trial.assignment] = fmean(latencies), fmean(losses)
            area = hypervolume(np.array(list(means.values())), np.array(corner))
            volumes.append((trial.number, area / (corner[0] * corner[1])))
    return tuple(volumes)


def _nights(
    store: Store, name: str, trials: Sequence[TrialRecord], volumes: Sequence[tuple[int, float]]
) -> tuple[NightSummary, ...]:
    """The runs of a study, each with the area behind the front at its end."""
    runs = store.runs(name)
    ends = [*(run.first for run in runs), sys.maxsize][1:]  # empty if there was no run
    return tuple(
        NightSummary(
            start=run.start,
            end=run.end,
            budget=run.budget,
            first=run.first,
            trials=sum(run.first <= t.number < end and t.reused_from is None for t in trials),
            # Of the last complete trial before the next run, whichever run that was in.
            volume=next((volume for number, volume in reversed(volumes) if number < end), 0.0),
        )
        for run, end in zip(runs, ends, strict=True)
    )
