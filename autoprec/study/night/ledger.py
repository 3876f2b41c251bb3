"""What is known of a study's trials, and the one place that writes them.

A trial begins in one transaction: its number in Optuna's tables, its record, and the lease of the process
that measures it. It ends in one, too: the evidence, the front, Optuna's copy, and the end of the lease. A
kill leaves all or nothing of either, and the strategy learns from what is stored, whoever stored it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from autoprec.backends.timing import Deadline
from autoprec.errors import BLAMELESS, FailureKind, TrialError
from autoprec.records import Assignment, Failure, Interval, LiveFront, Measurement, Proposal, TrialRecord
from autoprec.store import BEAT_SECONDS, Membership, Run, Store
from autoprec.study.finders import finder_of, is_outdated
from autoprec.study.night.candidates import later, now
from autoprec.study.night.mirror import Mirror
from autoprec.study.night.tally import Tallies, Tally, spent


class Ledger:
    """The trials of one study, as stored.

    Args:
        store: the open store, bound to the study.
        mirror: the study's copy in Optuna's tables, which receives every trial.
        membership: this process's participation in the study.
        study: the study's name.
        fingerprint: digest of the engine and device that measure now.
        limit_mb: limit of a candidate's peak memory, in 10**6 bytes; None for none.
    """

    def __init__(
        self,
        store: Store,
        mirror: Mirror,
        membership: Membership,
        study: str,
        fingerprint: str,
        limit_mb: int | None,
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._membership = membership
        self._study = study
        self._fingerprint = fingerprint
        self._limit_mb = limit_mb
        self.records: dict[int, TrialRecord] = {}
        """All trials by number, without the details that only reports show."""
        self.settled: dict[str, TrialRecord] = {}
        """The latest outcome of each assignment, by digest; failures are none if blameless or outdated."""
        self.interrupted: Counter[Assignment] = Counter()
        """How often trials of an assignment were interrupted, for whatever reason; 1 if one is outdated."""
        self.running: dict[int, TrialRecord] = {}
        """Trials that are being measured, here or elsewhere."""
        self._last, self._front, self._tallies = -1, LiveFront(), Tallies()
        self._mine: dict[int, Deadline] = {}
        """When this process began its running trials."""
        self._failed_here: set[tuple[str, FailureKind]] = set()
        self._news: list[TrialRecord] = []
        self._looked = Deadline(0.0)

    def reconcile(self) -> None:
        """Read all trials, settle those of dead processes, and correct Optuna's copy."""
        self.sync()
        self.take_over()

        def fix() -> None:
            with self._store.transaction(self._study):
                self.sync()
                self._mirror.repair(self.records.values())

        self._store.patiently(fix)
        # Outside the lock: a trial and its copy finish in one transaction, so nothing can come between.
        self._store.patiently(lambda: self._mirror.ensure_told(self.records.values()))

    def sync(self) -> None:
        """Read what this process or others have stored since the last call."""
        for record in self._store.news(self._study, self._last, tuple(self.running)):
            self._learn(record)

    def take_over(self) -> None:
        """Mark the running trials of dead processes as interrupted, which queues each once more."""
        # Checked only now and then: a lease outlasts its owner by a minute anyway.
        if not self.running.keys() - self._mine.keys() or not self._looked.is_over:
            return
        self._looked = Deadline(BEAT_SECONDS / 2)
        # First without the study's lock: nearly always all owners live, and checks would hold others up.
        held = self._store.patiently(self._membership.held_by_the_living)
        if all(_lease(number) in held for number in self.running):
            return

        def settle() -> None:
            with self._store.transaction(self._study):
                self.sync()
                held = self._membership.held_by_the_living()
                # Judged again under the lock: another process may have taken them over since.
                left = [record for n, record in self.running.items() if _lease(n) not in held]
                for record in left:
                    done = msgspec.structs.replace(record.settled(), end=now())
                    self._store.finish(done)
                    self._mirror.close(done)

        self._store.patiently(settle)
        self.sync()

    def begin(
        self,
        proposal: Proposal,
        run: Run | None = None,
        worker: str = "",
        allows: Callable[[], bool] = lambda: True,
        start: str = "",
    ) -> TrialRecord | None:
        """Number and store a running trial, held by this process; None if another process took it first.

        Args:
            proposal: what to measure.
            run: the run that it belongs to; None for a trial outside all runs.
            worker: host and device.
            allows: whether the budget allows it; called within the transaction, since others spend it too.
            start: when its measuring began, if that was earlier.
        """
        record = self._store.patiently(lambda: self._claim(proposal, run, worker, allows, start or now()))
        if record is not None:
            self._learn(record)
            self._mine[record.number] = Deadline(None)
        return record

    def _claim(
        self, proposal: Proposal, run: Run | None, worker: str, allows: Callable[[], bool], start: str
    ) -> TrialRecord | None:
        with self._store.transaction(self._study):
            self.sync()
            for number, record in self.running.items():
                if record.assignment == proposal.assignment:
                    is_ours = number not in self._mine and self._membership.holds(_lease(number))
                    # It is ours if an earlier attempt was committed, and only the answer was lost.
                    return record if is_ours and record.origin == proposal.origin else None
            # Finalists and refined weights are measured although their assignment has an outcome.
            again = proposal.origin in ("finalist", "refined")
            if (proposal.assignment.digest in self.settled and not again) or not allows():
                return None
            number = self._mirror.open(proposal)
            record = TrialRecord(
                study=self._study,
                number=number,
                state="running",
                origin=proposal.origin,
                label=proposal.label,
                assignment=proposal.assignment,
                fingerprint=self._fingerprint,
                start=start,
                run=run.id if run else None,
                worker=worker,
            )
            self._store.begin(record)
            self._membership.take(_lease(number))
            return record

    def settle(self, record: TrialRecord, outcome: Measurement | TrialError, end: str = "") -> TrialRecord:
        """Store the outcome of a running trial, and Optuna's copy of it; returns the stored record. `end` is
        when its measuring ended, if that was earlier."""
        end = end or later(record.start, self._mine[record.number])
        if isinstance(outcome, TrialError):
            failure = Failure(kind=outcome.kind, message=str(outcome), finder=finder_of(outcome.kind))
            done = msgspec.structs.replace(record, state="failed", failure=failure, end=end)
        else:
            excess = self._excess_mb(outcome)
            done = msgspec.structs.replace(
                record, state="complete", measurement=outcome, excess_mb=excess, end=end
            )
        kept = self._store.patiently(lambda: self._write(done))
        self._mine.pop(record.number, None)
        self._learn(kept)
        return kept

    def _write(self, done: TrialRecord) -> TrialRecord:
        with self._store.transaction(self._study):
            # Presumed dead, this process may have lost the trial to another one: what that stored stands.
            if not self._membership.holds(_lease(done.number)):
                kept = self._store.trial(self._study, done.number)
                if kept.state != "running":
                    return kept
            self._store.finish(done)
            self._mirror.close(done)
            self._membership.give_back(_lease(done.number))
            return done

    def news(self) -> list[TrialRecord]:
        """Records that are new or have changed since the last call, in order."""
        news, self._news = self._news, []
        return news

    def spent(self, run: Run) -> list[TrialRecord]:
        """The trials of a run that count towards its budget."""
        return spent(self.records.values(), run)

    def tally(self, run: Run) -> Tally:
        """How many they are, and how long they took."""
        return self._tallies.of(run)

    @property
    def front(self) -> tuple[TrialRecord, ...]:
        """The current Pareto front, fastest first."""
        return self._front.trials

    def to_race(self, reference_ms: float) -> tuple[tuple[Interval, Interval], ...]:
        """Intervals of the front's points, in ms and in loss, that a candidate is raced against."""
        return tuple(
            (measured.latency.interval_ms(reference_ms), measured.quality.loss_interval)
            for point in self.front
            if (measured := point.measurement) is not None
        )

    def _learn(self, record: TrialRecord) -> None:
        """Account for a trial: running, with an outcome, or saying nothing about its assignment."""
        before = self.records.get(record.number)
        if before is not None and before.state == record.state:
            return
        record = _slim(record)
        self.records[record.number] = record
        self._last = max(self._last, record.number)
        self._tallies.learn(record, before)
        self._front.add(record)
        self._news.append(record)
        if record.state == "running":
            self.running[record.number] = record
            return
        self.running.pop(record.number, None)
        if record.failure is not None and self._is_open_again(record, record.failure):
            # What a mended autoprec may see otherwise is tried once more, whatever it was before.
            self.settled.pop(record.assignment.digest, None)
            self.interrupted[record.assignment] = int(record.origin != "refined")
        elif record.failure is not None and record.failure.kind in BLAMELESS:
            self.interrupted[record.assignment] += record.origin != "refined"
        else:
            self.settled[record.assignment.digest] = record

    def _is_open_again(self, record: TrialRecord, failure: Failure) -> bool:
        """Whether a failure says nothing yet of the autoprec that runs here: another one found it."""
        # Hosts of a study may run different versions, and would try for ever what fails on each of them.
        here = (record.assignment.digest, failure.kind)
        if not is_outdated(failure):
            self._failed_here.add(here)
        return here not in self._failed_here

    def _excess_mb(self, measurement: Measurement) -> float:
        """MB by which a candidate exceeds the limit of memory; negative within it, 0 without a limit."""
        return 0.0 if self._limit_mb is None else measurement.peak_memory_bytes / 1e6 - self._limit_mb


def searching(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials that are no second measurement."""
    return [record for record in records if record.origin != "finalist"]


def _slim(record: TrialRecord) -> TrialRecord:
    """The record without what takes most of its memory: there may be tens of thousands of trials."""
    measured = record.measurement
    if measured is None or record.origin == "anchor":
        return record
    quality = msgspec.structs.replace(measured.quality, worst=(), typical=())
    slim = msgspec.structs.replace(measured, audit=(), quality=quality)
    return msgspec.structs.replace(record, measurement=slim)


def _lease(number: int) -> str:
    return f"trial {number}"
