"""Checking and repairing a study's evidence, and its copy in Optuna's tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoprec.errors import StudyError
from autoprec.records import Block, TrialRecord
from autoprec.spec import StudySpec
from autoprec.store import Health, Store, examine, rebuild
from autoprec.study.night.mirror import Mirror


def mirror_of(spec: StudySpec, store: Store, blocks: Sequence[Block], name: str = "") -> Mirror:
    """The study's copy in Optuna's tables of the same database.

    Args:
        spec: the study's definition.
        store: its database.
        blocks: of the study.
        name: of the study in Optuna's tables; by default the definition's.
    """
    return Mirror(store.optuna(), name or spec.name, blocks, limited=spec.search.max_memory_mb is not None)


def health(spec: StudySpec, database: Path) -> Health:
    """What is wrong with a study's evidence or, if nothing is, with Optuna's copy of it."""
    diagnosis = examine(database)
    # The copy is compared with the evidence, so a fault there would show as many here.
    if diagnosis.faults:
        return diagnosis
    with Store.open(database) as store:
        if not store.studies():  # it ended before its first measurement: what is lost is told above
            return diagnosis
        trials = store.trials(spec.name)
        try:
            faults = mirror_of(spec, store, store.blocks(spec.name)).faults(trials)
        except StudyError as error:
            faults = [str(error)]
    return Health(trials=len(trials), faults=tuple(faults))


def repair(spec: StudySpec, database: Path) -> Path:
    """Rewrite the file from its intact rows, with Optuna's tables; returns where the damaged one is kept."""
    damaged = rebuild(database)
    with Store.open(database) as store:
        for name in store.studies():
            mirror = mirror_of(spec, store, store.blocks(name), name)
            mirror.rebuild(map(TrialRecord.settled, store.trials(name)))
    return damaged
