"""Following a search that runs in another process: its events, read from the store again and again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from autoprec.errors import StudyError
from autoprec.records import RunStart, TrialRecord
from autoprec.spec import StudySpec, parse_budget
from autoprec.store import Run, Store, searching
from autoprec.study.events import Watcher
from autoprec.study.night.tally import spent

PAUSE_SECONDS = 1.0
"""Between two looks: a trial takes seconds."""


def follow(spec: StudySpec, watcher: Watcher) -> tuple[TrialRecord, ...]:
    """Report the running search to `watcher` as it proceeds; returns the front when the search is over.

    Reads only. Raises `StudyError` if nobody searches the study.
    """
    name = spec.name
    if not is_searched(spec):
        raise StudyError(
            f"study {name!r} is not being searched; `autoprec search --study {name}` does, and "
            "`autoprec front` shows what has been measured"
        )
    told: set[int] | None = None
    begun: set[int] = set()
    there: set[str] = set()
    while True:
        is_over = not is_searched(spec)
        try:
            with Store.open(spec.database, read_only=True) as store:
                if told is None and _has_begun(store, name):
                    told = _start(store, spec, store.runs(name)[-1], watcher)
                there = _tell_workers(store, name, watcher, there)
                if told is not None:
                    _tell(store, name, watcher, told, begun)
                if is_over:
                    return store.front(name)
        except StudyError:
            if told is not None or is_over:
                raise
            # A search that has just begun may not have made its tables yet.
        time.sleep(PAUSE_SECONDS)


def is_searched(spec: StudySpec) -> bool:
    """Whether a process searches the study now: on this machine, or in a shared database on any."""
    if isinstance(spec.database, Path):
        return searching(Path(spec.folder)) is not None
    with Store.open(spec.database, read_only=True) as store:
        return bool(store.workers(spec.name))


def _has_begun(store: Store, name: str) -> bool:
    """Whether this run has come to its trials: before, the last run in the store is another night's."""
    runs = store.runs(name)
    return bool(runs) and not runs[-1].end and store.reference(name) is not None


def _start(store: Store, spec: StudySpec, run: Run, watcher: Watcher) -> set[int]:
    """Report what is known already and what is left of the budget; returns the trials that were reported."""
    earlier = [trial for trial in store.trials(spec.name) if trial.state != "running"]
    done = len(spent(earlier, run))
    budget = parse_budget(run.budget)
    began = datetime.fromisoformat(run.start)
    passed = (datetime.now(UTC) - began).total_seconds()
    count = "1 trial" if done == 1 else f"{done} trials"
    watcher.say(f"watching the run of {began:%Y-%m-%d %H:%M}, budget {run.budget}: {count} done so far")
    start = RunStart(
        trials=None if budget.trials is None else max(0, budget.trials - done),
        seconds=None if budget.seconds is None else max(0.0, budget.seconds - passed),
        reference=store.reference(spec.name),
        earlier=tuple(earlier),
        done=done,
    )
    watcher.starts(start)
    return {trial.number for trial in earlier}


def _tell(store: Store, name: str, watcher: Watcher, told: set[int], begun: set[int]) -> None:
    """Tell what is new: trials that have begun, what step they are in, and those that are over."""
    for trial in store.news(name, max(told, default=-1), tuple(begun)):
        if trial.state == "running":
            if trial.number not in begun:
                begun.add(trial.number)
                watcher.begins(trial)
        elif trial.number not in told:
            told.add(trial.number)
            begun.discard(trial.number)
            watcher.ends(trial, store.front(name))
    for worker in store.workers(name):
        for doing in worker.doing:
            if doing.trial in begun:
                watcher.stage(f"{doing.stage} ({worker.host.split()[0]} {doing.device})", doing.trial)


def _tell_workers(store: Store, name: str, watcher: Watcher, before: set[str]) -> set[str]:
    """Tell who joined and who left; returns who is there now."""
    workers = {w.id: f"{w.host.split()[0]} ({', '.join(w.devices)})" for w in store.workers(name)}
    for joined in workers.keys() - before:
        watcher.say(f"{workers[joined]} joined")
    if before - workers.keys() and workers:
        watcher.say(f"{len(before - workers.keys())} workers left, {len(workers)} are there")
    return set(workers)
