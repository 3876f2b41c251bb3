"""What a search would do, without doing it: blocks, choices, the first trials, and their cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from statistics import median
from typing import NamedTuple

from autoprec.backends import create_backend
from autoprec.errors import UserError
from autoprec.records import Assignment, Block, PlannedTrial, SearchPlan, TrialRecord
from autoprec.search import anchors, create_strategy
from autoprec.spec import StudySpec, parse_budget
from autoprec.store import Store
from autoprec.study.night.priors import load_priors
from autoprec.study.night.tally import seconds_of
from autoprec.study.preparation import load_blocks

_FIRST = 10


def plan(spec: StudySpec, budget: str | None) -> SearchPlan:
    """What the next search of a study would do; runs no engine and writes nothing.

    Raises children of `UserError` for what is wrong with the definition or the model.
    """
    text = spec.search.budget if budget is None else budget
    allowed = parse_budget(text)
    blocks, trials, base = _so_far(spec)
    tried = {trial.assignment for trial in trials if trial.state != "running"}
    first = [
        PlannedTrial(origin="anchor", label=label, assignment=assignment)
        for label, assignment in anchors(
            blocks, spec.search.precisions, reference=spec.search.reference.removesuffix("-safe"), base=base
        )
        if assignment not in tried
    ]
    if trials and not first:
        first = [PlannedTrial(origin="search", assignment=one) for one in _proposed(spec, blocks, trials)]
    times = [seconds_of([trial]) for trial in trials if trial.measurement is not None]
    each = median(times) if times else None
    peaks = [trial.measurement.peak_memory_bytes for trial in trials if trial.measurement is not None]
    return SearchPlan(
        study=spec.name,
        strategy=spec.search.strategy,
        seed=spec.search.seed,
        budget=text,
        blocks=blocks,
        is_judged=bool(trials),
        assignments=prod(len(block.allowed) for block in blocks),
        trials_known=len(trials),
        timing_seconds=spec.timing.seconds,
        trial_seconds=each,
        seconds=allowed.seconds or (each * allowed.trials if each and allowed.trials else None),
        peak_memory_bytes=max(peaks, default=None),
        weight_bytes=sum(block.weight_bytes for block in blocks),
        first=tuple(first[:_FIRST]),
    )


def judged_blocks(spec: StudySpec) -> tuple[Block, ...]:
    """The blocks as the engine has judged them; empty where it was not asked yet, or about something else.

    Raises `ModelError` or `SpecError` for a model or a definition that cannot be read.
    """
    blocks, evidence = load_blocks(spec)[1], _evidence(spec)
    is_same = evidence is not None and evidence.definition == spec.digest and evidence.is_judged
    return evidence.blocks if evidence and is_same and _cut(evidence.blocks) == _cut(blocks) else ()


def _cut(blocks: Sequence[Block]) -> list[tuple[str, tuple[str, ...]]]:
    # By their nodes too: another version may cut other blocks that have the same names.
    return [(block.name, block.nodes) for block in blocks]


class _Evidence(NamedTuple):
    """What a search has stored; `definition` is the digest of the one that it was given, and `is_judged` says
    whether the engine has been asked for more than the reference."""

    blocks: tuple[Block, ...]
    trials: tuple[TrialRecord, ...]
    base: str
    definition: str
    is_judged: bool


def _evidence(spec: StudySpec) -> _Evidence | None:
    """What is known of a study; None before it is bound, and where the evidence cannot be read."""
    if isinstance(spec.database, Path) and not spec.database.exists():
        return None
    try:
        with Store.open(spec.database, read_only=True) as store:
            if spec.name not in store.studies():
                return None
            basis, name = store.basis(spec.name), spec.name
            base = basis.base if basis is not None else "fp32"
            definition = store.identity(name).typed().spec
            is_judged = basis is not None and not basis.is_open
            return _Evidence(store.blocks(name), store.trials(name), base, definition, is_judged)
    except UserError:  # a search will report that
        return None


def _so_far(spec: StudySpec) -> tuple[tuple[Block, ...], tuple[TrialRecord, ...], str]:
    """Blocks, trials and base precision: from the evidence if there is any, else from the model alone."""
    if (evidence := _evidence(spec)) is not None:
        return evidence.blocks, evidence.trials, evidence.base
    base = spec.backend.base or create_backend(spec.backend.name, spec.backend.options).base_precision
    return load_blocks(spec)[1], (), base


def _proposed(
    spec: StudySpec, blocks: Sequence[Block], trials: Sequence[TrialRecord]
) -> Sequence[Assignment]:
    """What the strategy would try next, given what it knows now."""
    search = spec.search
    with Store.open(spec.database, read_only=True) as store:
        priors = load_priors(store, spec.name, search.accepted_loss)
    strategy = create_strategy(search.strategy, seed=search.seed, blocks=blocks, priors=priors)
    strategy.learn(trials)
    return strategy.propose(_FIRST)
