"""Following a search in another process, by polling its stored events."""

from __future__ import annotations

import shlex
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
"""Between two polls; trials take seconds."""


def follow(spec: StudySpec, watcher: Watcher) -> tuple[TrialRecord, ...]:
    """Report a running search to `watcher` as it proceeds; returns the front once it has ended.

    Only reads. Raises `StudyError` if the study is not being searched.
    """
    name = spec.name
    if not is_searched(spec):
        raise StudyError(
            f"study {name!r} is not being searched; `autoprec search --study {shlex.quote(name)}` does, and "
            "`autoprec front` shows what has been measured"
        )
    told: set[int] | None = None
    begun: set[int] = set()
    there: set[str] = set()
    while True:
        # Asked before the store is read, so that the last trials of a search that ends meanwhile are still
        # told.
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
            # A search that has just started may not have created its tables yet.
        time.sleep(PAUSE_SECONDS)


def is_searched(spec: StudySpec) -> bool:
    """Whether a process is searching the study: on this machine or, in a shared database, on any."""
    if isinstance(spec.database, Path):
        return searching(Path(spec.folder)) is not None
    with Store.open(spec.database, read_only=True) as store:
        return bool(store.workers(spec.name))


def _has_begun(store: Store, name: str) -> bool:
    """Whether the current run has reached its trials; until then, the last stored run is an earlier one."""
    runs = store.runs(name)
    return bool(runs) and not runs[-1].end and store.reference(name) is not None


def _start(store: Store, spec: StudySpec, run: Run, watcher: Watcher) -> set[int]:
    """Report earlier trials and what is left of the budget; returns the numbers of those trials."""
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
    """Report what is new: trials that have begun, their steps, and trials that have ended."""
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
    """Report who has joined or left; returns the ids of the current workers."""
    workers = {w.id: f"{w.host.split()[0]} ({', '.join(w.devices)})" for w in store.workers(name)}
    for joined in workers.keys() - before:
        watcher.say(f"{workers[joined]} joined")
    if before - workers.keys() and workers:
        watcher.say(f"{len(before - workers.keys())} workers left, {len(workers)} are there")
    return set(workers)
