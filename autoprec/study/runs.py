"""Which run a search belongs to, and when that has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from autoprec.store import Run
from autoprec.study.events import Watcher
from autoprec.study.session import Session

JOBS = "slurm job"
"""Kind of the facts that name the run of a Slurm job and a budget."""


def open_run(session: Session, budget: str, watcher: Watcher) -> Run:
    """The run to continue: the last one if it has not ended and has the same budget, else a new one.

    A Slurm job that was requeued is given the run that it began, even if that has ended meanwhile; and so is
    a search that was still waiting or preparing when others finished the run that it was to join.
    """
    store, study = session.store, session.prepared.spec.name
    job, is_requeued = slurm_job(os.environ)
    key = f"{job} {budget}"

    def opened() -> Run:
        with store.transaction(study):
            # In one transaction: of two processes that start at once, the second must find the first one's
            # run.
            runs = store.runs(study)
            own = store.fact(study, JOBS, key, int) if is_requeued else None
            if own in (by_id := {run.id: run for run in runs}):
                return by_id[own]
            if not (runs and runs[-1].id not in session.ended and runs[-1].budget == budget):
                store.begin_run(study, budget)
            run = store.runs(study)[-1]
            if job:
                store.put_fact(study, JOBS, key, run.id)
            return run

    run = store.patiently(opened)
    if run.end:
        what = f"Slurm job {job} was requeued, and its" if is_requeued else "others were faster, and the"
        watcher.say(f"{what} run of {budget} has ended: nothing is left to do")
        session.membership.leave()
        return run
    session.ledger.reconcile()
    done = sum(record.state != "running" for record in session.ledger.spent(run))
    if done:
        others = len(store.workers(study)) - 1
        if others:
            watcher.say(f"joining {others} others, who have done {done} trials")
        else:
            watcher.say(f"resuming the run of {run.start[:16].replace('T', ' ')}: {done} trials are done")
    return run


def close_run(session: Session, run: Run, allowed: int | None) -> None:
    """Store the end of a run, unless others continue it, or it was stopped."""
    store, ledger, study = session.store, session.ledger, run.study

    def closed() -> None:
        with store.transaction(study):
            ledger.sync()
            done = sum(record.state != "running" for record in ledger.spent(run))
            # Before the workers are counted: of two that end at once, the later one must find itself the
            # last.
            session.membership.leave()
            is_spent = allowed is not None and done >= allowed
            if is_spent or (not store.workers(study) and not session.night.is_stopping):
                store.end_run(run.id, done)

    store.patiently(closed)


class SlurmJob(NamedTuple):
    """A Slurm job, of which all tasks of an array are part; its number is "" outside Slurm."""

    number: str
    is_requeued: bool


def slurm_job(environment: Mapping[str, str]) -> SlurmJob:
    """The Slurm job of this process."""
    job = environment.get("SLURM_ARRAY_JOB_ID") or environment.get("SLURM_JOB_ID", "")
    return SlurmJob(job, bool(job) and environment.get("SLURM_RESTART_COUNT", "0") != "0")
