"""Which run a search belongs to, how it is begun, and when it has ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NamedTuple

from autoprec.backends.timing import Deadline
from autoprec.records import Reference, RunStart
from autoprec.spec import StudySpec, parse_budget
from autoprec.store import Membership, Run, Store
from autoprec.study.events import Watcher
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.mirror import Mirror
from autoprec.study.night.queue import Allowance
from autoprec.study.preparation import Prepared

JOBS = "slurm job"
"""Kind of the facts that name the run of a Slurm job and a budget."""
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """A bound study, in which this process takes part; `ended` are the runs that were over before that."""

    store: Store
    study: str
    membership: Membership
    ledger: Ledger
    ended: frozenset[int]


class Binding:
    """Binds a study to what it is measured with, a new one in two steps: with its reference's own trial, then
    with all that the engine was asked for.

    Args:
        store: the open store.
        membership: this process's participation.
        spec: the study's definition.
    """

    def __init__(self, store: Store, membership: Membership, spec: StudySpec) -> None:
        self._store, self._membership, self._spec = store, membership, spec
        self._ended = frozenset(run.id for run in store.runs(spec.name) if run.end)
        self._mirror: Mirror | None = None
        self._bound: Bound | None = None

    def open(self, prepared: Prepared) -> Bound:
        """What trials are stored by, whether the study is bound or will be. Raises as `bind`."""
        if self._bound is None:
            limit, name = self._spec.search.max_memory_mb, self._spec.name
            self._mirror = Mirror.of(self._store, name, prepared.blocks, limited=limit is not None)
            engine = prepared.identity.fingerprint.digest
            ledger = Ledger(self._store, self._mirror, self._membership, name, engine, limit)
            self._bound = Bound(
                store=self._store, study=name, membership=self._membership, ledger=ledger, ended=self._ended
            )
        return self._bound

    def bind(self, prepared: Prepared) -> Bound:
        """Bind it. Raises `StudyError` that names every difference to what it is bound to."""
        bound, store, name = self.open(prepared), self._store, self._spec.name

        def binding() -> None:
            with store.transaction(name):
                was = store.blocks(name) if name in store.studies() else prepared.blocks
                store.bind(name, prepared.identity, prepared.blocks)
                if self._mirror is not None and was != prepared.blocks:
                    self._mirror.adapt(prepared.blocks)

        store.patiently(binding)
        return bound


class Course:
    """The course of a search's run: it begins once a trial can be stored, and ends when asked to.

    Args:
        spec: the study's definition.
        budget: of the run, as the user wrote it.
        watcher: is told that the run begins.
        opening: called before that, once the study is bound.
    """

    def __init__(
        self,
        spec: StudySpec,
        budget: str,
        watcher: Watcher,
        opening: Callable[[Store], None] = lambda _: None,
    ) -> None:
        self._spec, self._budget, self._watcher, self._opening = spec, budget, watcher, opening
        self._prepares = Deadline(None)
        self._allowance: Allowance | None = None
        self._is_winding_up = False
        self.is_stopping = False

    def stop(self) -> None:
        """End the run after the trials in progress; it can be resumed."""
        self.is_stopping = True

    def wind_up(self) -> None:
        """Try nothing new; measure the best points again, then end."""
        self._is_winding_up = True
        if self._allowance is not None:
            self._allowance.wind_up()

    def begin(self, bound: Bound, reference: Reference | None = None) -> Allowance:
        """Begin the run, unless that is done; `reference` is None while the study is not prepared, or FP32 is
        to be compared with it, which takes none of the run's time."""
        if self._allowance is None:
            self._opening(bound.store)
            return self._begun(bound.ledger, open_run(bound, self._budget, self._watcher), reference)
        if reference is not None:
            self._watcher.refers(reference)
            self._allow(bound.ledger, self._allowance.run)
        return self._allowance

    def _allow(self, ledger: Ledger, run: Run) -> Allowance:
        """Count what is left of the run's budget from now on."""
        budget, finalists = parse_budget(self._budget), self._spec.search.finalists
        self._allowance = Allowance(budget, finalists, run, ledger, self._prepares)
        if self._is_winding_up:
            self._allowance.wind_up()
        return self._allowance

    def _begun(self, ledger: Ledger, run: Run, reference: Reference | None) -> Allowance:
        """Begin to count the run's budget, and tell the watcher."""
        ledger.reconcile()
        budget, allowance = parse_budget(self._budget), self._allow(ledger, run)
        before = len(ledger.spent(run))
        earlier = tuple(record for record in ledger.records.values() if record.state != "running")
        if not run.end:
            self._watcher.starts(
                RunStart(
                    trials=None if budget.trials is None else max(0, budget.trials - before),
                    seconds=None if budget.seconds is None else allowance.seconds_left,
                    reference=reference,
                    earlier=earlier,
                    done=before,
                )
            )
        return allowance


def open_run(bound: Bound, budget: str, watcher: Watcher) -> Run:
    """The run to continue: the last one if it has not ended and has the same budget, else a new one.

    A Slurm job that was requeued is given the run that it began, even if that has ended meanwhile; and so is
    a search that was still waiting or preparing when others finished the run that it was to join.
    """
    store, study = bound.store, bound.study
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
            if not (runs and runs[-1].id not in bound.ended and runs[-1].budget == budget):
                store.begin_run(study, budget)
            run = store.runs(study)[-1]
            if job:
                store.put_fact(study, JOBS, key, run.id)
            return run

    run = store.patiently(opened)
    if run.end:
        what = f"Slurm job {job} was requeued, and its" if is_requeued else "others were faster, and the"
        watcher.say(f"{what} run of {budget} has ended: nothing is left to do")
        bound.membership.leave()
        return run
    bound.ledger.reconcile()
    done = sum(record.state != "running" for record in bound.ledger.spent(run))
    if done:
        others = len(store.workers(study)) - 1
        if others:
            watcher.say(f"joining {others} others, who have done {done} trials")
        else:
            watcher.say(f"resuming the run of {run.start[:16].replace('T', ' ')}: {done} trials are done")
    return run


def close_run(bound: Bound, course: Course, run: Run) -> None:
    """Store the end of a run, unless others continue it, or it was stopped."""
    store, ledger, study, allowed = bound.store, bound.ledger, run.study, parse_budget(run.budget).trials

    def closed() -> None:
        with store.transaction(study):
            ledger.sync()
            done = sum(record.state != "running" for record in ledger.spent(run))
            # Before the workers are counted: of two that end at once, the later one must find itself the
            # last.
            bound.membership.leave()
            is_spent = allowed is not None and done >= allowed
            if is_spent or (not store.workers(study) and not course.is_stopping):
                store.end_run(run.id, done)

    store.patiently(closed)


@contextmanager
def stopping(course: Course, watcher: Watcher) -> Iterator[None]:
    """Let the first Ctrl-C in the block end the run after its running trials, and a second one at once."""
    # Python delivers signals to the main thread alone, and a notebook's kernel has its own use for SIGINT.
    if threading.current_thread() is not threading.main_thread() or "ipykernel" in sys.modules:
        yield
        return

    # Not by the handler itself: it may have interrupted a print, and a stream refuses a print within one.
    telling = threading.Thread(target=watcher.stops, name="stopping", daemon=True)

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        # From now on, Ctrl-C raises KeyboardInterrupt as usual.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        course.stop()
        telling.start()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if telling.ident is not None:
            telling.join(_PAUSE_SECONDS)


class SlurmJob(NamedTuple):
    """A Slurm job, of which all tasks of an array are part; its number is "" outside Slurm."""

    number: str
    is_requeued: bool


def slurm_job(environment: Mapping[str, str]) -> SlurmJob:
    """The Slurm job of this process."""
    job = environment.get("SLURM_ARRAY_JOB_ID") or environment.get("SLURM_JOB_ID", "")
    return SlurmJob(job, bool(job) and environment.get("SLURM_RESTART_COUNT", "0") != "0")
