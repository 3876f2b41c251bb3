"""Following a search that runs in another process: its events, read from the store again and again."""

from __future__ import annotations

import time
from pathlib import Path

from autoprec.errors import StudyError
from autoprec.records import TrialRecord
from autoprec.spec import Budget, StudySpec, parse_budget
from autoprec.store import Run, Store, searching
from autoprec.study.events import Watcher

PAUSE_SECONDS = 1.0
"""Between two looks: a trial takes seconds."""


def follow(spec: StudySpec, watcher: Watcher) -> tuple[TrialRecord, ...]:
    """Tell `watcher` of the running search as it goes on; returns the front when the search is over.

    Reads only. Raises `StudyError` if nobody searches the study.
    """
    folder, name = Path(spec.folder), spec.name
    process = searching(folder)
    if process is None:
        raise StudyError(
            f"study {name!r} is not being searched; `autoprec search --study {name}` does, and "
            "`autoprec front` shows what is there"
        )
    told: set[int] | None = None
    begun: TrialRecord | None = None
    while True:
        is_over = searching(folder) != process
        try:
            with Store.open(folder / "study.db", read_only=True) as store:
                if told is None and _has_begun(store, name):
                    told = _start(store, spec, store.runs(name)[-1], watcher)
                if told is not None:
                    begun = _tell(store, name, watcher, told, begun)
                if is_over:
                    return store.front(name)
        except StudyError:
            if told is not None or is_over:
                raise
            # A search that has just begun may not have made its tables yet.
        time.sleep(PAUSE_SECONDS)


def _has_begun(store: Store, name: str) -> bool:
    """Whether this run has come to its trials: before, the last run in the store is another night's."""
    runs = store.runs(name)
    return bool(runs) and not runs[-1].end and store.reference(name) is not None


def _start(store: Store, spec: StudySpec, run: Run, watcher: Watcher) -> set[int]:
    """Tell what is known already and what is left of the budget; returns the trials that are told."""
    earlier = [trial for trial in store.trials(spec.name) if trial.state != "running"]
    done = sum(trial.number >= run.first and trial.reused_from is None for trial in earlier)
    budget = parse_budget(run.budget)
    left = Budget(trials=None if budget.trials is None else max(0, budget.trials - done))
    watcher.say(f"the run has finished {done} of its budget of {run.budget}; it began at {run.start}")
    watcher.starts(trials=left.trials, seconds=None, reference=store.reference(spec.name), earlier=earlier)
    return {trial.number for trial in earlier}


def _tell(
    store: Store, name: str, watcher: Watcher, told: set[int], begun: TrialRecord | None
) -> TrialRecord | None:
    """Tell what is new; returns the trial in hand."""
    running: TrialRecord | None = None
    for trial in store.trials(name):
        if trial.state == "running":
            running = trial
        elif trial.number not in told:
            told.add(trial.number)
            watcher.ends(trial, store.front(name))
    if running is not None and running != begun:
        watcher.begins(running)
        watcher.stage("measuring")
    return running
