"""The trials that this process measures: begun on free workers, settled as they finish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from autoprec.backends import Device
from autoprec.errors import TrialError
from autoprec.records import MeasuredOn, Measurement, Proposal, TrialRecord
from autoprec.store import Run, Store, host
from autoprec.study.events import Watcher
from autoprec.study.night.alike import Alike
from autoprec.study.night.candidates import EarlyMeasurement, Front, measure
from autoprec.study.night.crew import Crew, Finished, Slot
from autoprec.study.night.heart import Heart
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.queue import Allowance
from autoprec.study.preparation import Prepared

DEVICES = "device"
"""Kind of the facts that say what each device's own reference took."""


class TrialRunner:
    """Begins trials on the crew's free workers, and settles those that have finished.

    Args:
        prepared: rewrites the candidates.
        store: the open store, which also receives what each device's own reference took.
        ledger: reads and writes trials.
        crew: the workers.
        heart: reports what the workers are doing.
        watcher: receives every step.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        ledger: Ledger,
        crew: Crew[TrialRecord, Measurement],
        heart: Heart,
        watcher: Watcher,
    ) -> None:
        self._prepared, self._store, self._heart, self._watcher = prepared, store, heart, watcher
        self.ledger, self.crew = ledger, crew
        self._early: dict[str, EarlyMeasurement] = {}
        self._seen: set[str] = set()
        """Devices whose own reference latency is stored."""
        self._alike = Alike()

    def accept(self, early: Mapping[str, EarlyMeasurement]) -> None:
        """Take what was measured for the reference, by digest: these anchors need not be measured again."""
        self._early |= early

    def settle_own(self, outcome: EarlyMeasurement, allowance: Allowance) -> None:
        """Begin and settle the reference's own trial, which is measured, if it is an anchor."""
        assignment = self._prepared.reference
        label = next((label for label, anchor in self._prepared.anchors if anchor == assignment), None)
        if label is not None:
            self.accept({assignment.digest: outcome})
            proposal = Proposal(assignment=assignment, origin="anchor", label=label)
            self.begin(proposal, allowance.run, outcome.measurement.latency_ms, allowance.allows_search)

    def begin(
        self,
        proposal: Proposal,
        run: Run | None,
        reference_ms: float,
        allows: Callable[[], bool] = lambda: True,
    ) -> int | None:
        """Begin a trial on a free worker, of which there must be one, or settle one measured early; returns
        its number, or None if another process has taken it, or the rest of the budget.

        Args:
            proposal: what to measure.
            run: the run that it belongs to; None for a trial outside all runs.
            reference_ms: the study's reference latency in ms.
            allows: whether the budget allows it.
        """
        digest = proposal.assignment.digest
        early = self._early.get(digest) if proposal.origin == "anchor" else None
        device = early.device if early else self.crew.next.device
        worker = f"{host().split()[0]} {device.name}"
        record = self.ledger.begin(proposal, run, worker, allows, early.start if early else "")
        if record is None:
            return None
        self._watcher.begins(record)
        if early is not None:
            del self._early[digest]
            self._settle(record, early.measurement, early.device, early.end)
        else:
            front = None if record.origin == "anchor" else self.ledger.to_race(reference_ms)
            self.crew.start(record, partial(self._measured, front, reference_ms))
        return record.number

    def settle_finished(self, *, all_of_them: bool = False) -> None:
        """Store what finished trials gave; waits a moment for the first, or until all of them are."""
        for finished in self.crew.finished(all_of_them=all_of_them):
            self._settle(finished.item, _outcome(finished), finished.slot.device)

    def _measured(
        self, front: Front | None, reference_ms: float, slot: Slot, record: TrialRecord
    ) -> Measurement:
        def stage(name: str) -> None:
            self._watcher.stage(name, record.number)
            self._heart.stage(record.number, slot.device.name, name)

        return measure(self._prepared, slot, record.assignment, reference_ms, front=front, on_stage=stage)

    def _settle(
        self, record: TrialRecord, outcome: Measurement | TrialError, device: Device, end: str = ""
    ) -> None:
        done = self.ledger.settle(record, outcome, end)
        self._heart.over(done.number)
        if isinstance(outcome, Measurement) and device.name not in self._seen:
            self._seen.add(device.name)
            fact = MeasuredOn(kind=device.kind, reference_ms=outcome.latency.reference_median_ms)
            self._store.put_fact(self._prepared.spec.name, DEVICES, done.worker, fact)
        self._watcher.ends(done, self.ledger.front)
        self._alike.add(done)


def _outcome(finished: Finished[TrialRecord, Measurement]) -> Measurement | TrialError:
    """What a worker's thread returned, or why the trial failed; raises whatever else is wrong."""
    try:
        return finished.result()
    except TrialError as error:
        return error
