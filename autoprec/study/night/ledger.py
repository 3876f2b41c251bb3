"""What is known of a study's trials, and the one place that writes it down.

The evidence of a trial is stored first; Optuna and the strategy are told after it, so a kill in between is
mended from the evidence when the next run starts.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import msgspec

from autoprec.errors import BLAMELESS, TrialError
from autoprec.records import Assignment, Failure, Interval, Measurement, TrialRecord
from autoprec.store import Store
from autoprec.study.night.mirror import Mirror
from autoprec.study.night.proposal import Proposal


class Ledger:
    """The trials of one study, as far as they are settled.

    Args:
        store: the open store, bound to the study.
        mirror: the study in Optuna's tables; it is told every trial.
        study: the study's name.
        fingerprint: digest of the engine and device that measure now.
        limit_mb: peak memory that a candidate may take, in 10**6 bytes; None sets no limit.
    """

    def __init__(
        self, store: Store, mirror: Mirror, study: str, fingerprint: str, limit_mb: int | None
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._study = study
        self._fingerprint = fingerprint
        self._limit_mb = limit_mb
        self.settled: dict[str, TrialRecord] = {}
        """The latest outcome of each assignment, by its digest; what it is not to blame for is none."""
        self.interrupted: Counter[Assignment] = Counter()
        """How often the trial of an assignment was cut off, whatever did that."""
        self._news: list[TrialRecord] = []

    def reconcile(self) -> None:
        """Settle what a killed run left: its trial is interrupted, and the mirror says what is stored."""
        for record in self._store.running(self._study):
            self._store.finish(msgspec.structs.replace(record.settled(), end=_now()))
        records = self._store.trials(self._study)
        self._mirror.mend(records)
        for record in records:
            self._learn(record)

    def begin(self, proposal: Proposal) -> TrialRecord:
        """Give a trial its number and write down that it is being measured; returns its record."""
        record = TrialRecord(
            study=self._study,
            number=self._mirror.open(proposal),
            state="running",
            origin=proposal.origin,
            label=proposal.label,
            assignment=proposal.assignment,
            fingerprint=self._fingerprint,
            start=_now(),
        )
        self._store.begin(record)
        self._news.append(record)
        return record

    def settle(self, record: TrialRecord, outcome: Measurement | TrialError) -> TrialRecord:
        """Store the outcome of a running trial, whatever it is, and tell Optuna; returns the final record."""
        if isinstance(outcome, TrialError):
            failure = Failure(kind=outcome.kind, message=str(outcome))
            done = msgspec.structs.replace(record, state="failed", failure=failure, end=_now())
        else:
            excess = self._excess_mb(outcome)
            done = msgspec.structs.replace(
                record, state="complete", measurement=outcome, excess_mb=excess, end=_now()
            )
        self._store.finish(done)
        self._mirror.close(done)
        self._learn(done)
        return done

    def news(self) -> list[TrialRecord]:
        """Records that are new or have changed since this was last asked, in order."""
        news, self._news = self._news, []
        return news

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
        self._news.append(record)
        if record.failure is not None and record.failure.kind in BLAMELESS:
            self.interrupted[record.assignment] += record.origin != "refined"
        else:
            self.settled[record.assignment.digest] = record

    def _excess_mb(self, measurement: Measurement) -> float:
        """By how much a candidate is over the limit of memory; below 0 is within it."""
        return 0.0 if self._limit_mb is None else measurement.peak_memory_bytes / 1e6 - self._limit_mb


def _now() -> str:
    """The time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
