"""What is known of a study's trials, and the one place that writes it down.

The evidence of a trial is stored first and Optuna is told after it, so a kill between the two is mended
from the evidence when the next run starts.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import msgspec
import optuna
from optuna.trial import Trial, TrialState

from autoprec.errors import BLAMELESS, TrialError
from autoprec.records import Assignment, Failure, Interval, Measurement, TrialRecord
from autoprec.search import FAILURE_KIND
from autoprec.store import Store
from autoprec.study.night.proposal import Proposal


class Ledger:
    """The trials of one study, as far as they are settled.

    Args:
        store: the open store, bound to the study.
        trials: the Optuna study in the same database; it is told every outcome.
        study: the study's name.
        fingerprint: digest of the engine and device that measure now.
        limit_mb: peak memory that a candidate may take, in 10**6 bytes; None sets no limit.
    """

    def __init__(
        self, store: Store, trials: optuna.Study, study: str, fingerprint: str, limit_mb: int | None
    ) -> None:
        self._store = store
        self._trials = trials
        self._study = study
        self._fingerprint = fingerprint
        self._limit_mb = limit_mb
        self.settled: dict[str, TrialRecord] = {}
        """The latest outcome of each assignment, by its digest; what it is not to blame for is none."""
        self.interrupted: Counter[Assignment] = Counter()
        """How often the trial of an assignment was cut off, whatever did that."""

    def reconcile(self) -> None:
        """Settle what a killed run left behind: mark its trial interrupted, tell Optuna what is stored."""
        for record in self._store.running(self._study):
            self._store.finish(msgspec.structs.replace(record.settled(), end=_now()))
        records = {record.number: record for record in self._store.trials(self._study)}
        for frozen in self._trials.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._tell(frozen.number, records.get(frozen.number))
        for record in records.values():
            self._learn(record)

    def begin(self, proposal: Proposal) -> TrialRecord:
        """Write down that a trial is being measured; returns its record."""
        record = TrialRecord(
            study=self._study,
            number=proposal.trial.number,
            state="running",
            origin=proposal.origin,
            label=proposal.label,
            assignment=proposal.assignment,
            fingerprint=self._fingerprint,
            start=_now(),
        )
        self._store.begin(record)
        return record

    def settle(self, trial: Trial, record: TrialRecord, outcome: Measurement | TrialError) -> TrialRecord:
        """Store the outcome of a running trial, whatever it is, and tell Optuna; returns the final record."""
        if isinstance(outcome, TrialError):
            failure = Failure(kind=outcome.kind, message=str(outcome))
            done = msgspec.structs.replace(record, state="failed", failure=failure, end=_now())
        else:
            excess = self._excess_mb(outcome)
            done = msgspec.structs.replace(
                record, state="complete", measurement=outcome, excess_mb=excess, end=_now()
            )
        if done.failure is not None:  # before it is finished, as in `_finish`
            trial.set_user_attr(FAILURE_KIND, done.failure.kind)
        self._finish(trial, done)
        self._learn(done)
        return done

    def repeat(self, trial: Trial, earlier: TrialRecord) -> None:
        """Answer a proposal that was measured before from the store."""
        now = _now()
        record = msgspec.structs.replace(
            earlier,
            number=trial.number,
            origin="reused",
            label="",
            reused_from=earlier.number,
            start=now,
            end=now,
        )
        self._finish(trial, record)

    def front(self) -> tuple[tuple[Interval, Interval], ...]:
        """Intervals of the front's points, in ms and in loss: what a candidate is raced against."""
        reference = self._store.reference(self._study)
        if reference is None:
            return ()
        return tuple(
            (found.latency.interval_ms(reference.latency_ms), found.quality.loss_interval)
            for point in self._store.front(self._study)
            if (found := point.measurement) is not None
        )

    def _learn(self, record: TrialRecord) -> None:
        """Count a finished trial as what it is: an outcome, or one that says nothing of its assignment."""
        if record.failure is not None and record.failure.kind in BLAMELESS:
            self.interrupted[record.assignment] += record.origin != "refined"
        else:
            self.settled[record.assignment.digest] = record

    def _finish(self, trial: Trial, record: TrialRecord) -> None:
        if self._limit_mb is not None and record.state == "complete":
            # Before it is finished: a kill in between loses nothing.
            trial.set_constraint("max_memory_mb", record.excess_mb)
        self._store.finish(record)
        self._tell(record.number, record)

    def _excess_mb(self, measurement: Measurement) -> float:
        """By how much a candidate is over the limit of memory; below 0 is within it."""
        return 0.0 if self._limit_mb is None else measurement.peak_memory_bytes / 1e6 - self._limit_mb

    def _tell(self, number: int, record: TrialRecord | None) -> None:
        """Give Optuna the outcome of a trial; it forgets nothing that it was told before."""
        if record is not None and record.state == "complete":
            self._trials.tell(number, (record.latency_ms, record.loss))
        else:
            self._trials.tell(number, state=TrialState.FAIL)


def _now() -> str:
    """The time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
