"""One run of a search: take what is next, measure it, settle it, until the budget is spent."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from autoprec.backends.timing import Deadline
from autoprec.errors import TrialError
from autoprec.measurement import Bench
from autoprec.records import Assignment, Measurement, Reference
from autoprec.spec import Budget
from autoprec.store import Store
from autoprec.study.events import Watcher
from autoprec.study.night.alike import Alike
from autoprec.study.night.candidates import measure
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.mirror import Mirror
from autoprec.study.night.priors import measure_sensitivity
from autoprec.study.night.proposal import Proposal
from autoprec.study.night.queue import Queue
from autoprec.study.night.reference import establish
from autoprec.study.preparation import Prepared


class Night:
    """One run; `stop` ends it after the trial in hand.

    Args:
        prepared: model, blocks, rewriter and identity.
        store: the open store, bound to the study.
        mirror: the study in Optuna's tables.
        bench: measures candidates in the worker.
        watcher: is told of every step.
    """

    def __init__(
        self, prepared: Prepared, store: Store, mirror: Mirror, bench: Bench, watcher: Watcher
    ) -> None:
        self._prepared, self._store, self._bench, self._watcher = prepared, store, bench, watcher
        self._name = prepared.spec.name
        limit = prepared.spec.search.max_memory_mb
        self._ledger = Ledger(store, mirror, self._name, prepared.identity.fingerprint.digest, limit)
        measure_priors = partial(measure_sensitivity, prepared, store, bench, watcher.say)
        self._queue = Queue(prepared, store, self._ledger, measure_priors)
        self._measured: dict[str, Measurement] = {}
        """By digest, what establishing the reference measured: anchors that need not be measured again."""
        self._alike = Alike()
        self.is_stopping = False

    def stop(self) -> None:
        """End the run after the trial in hand."""
        self.is_stopping = True

    def run(self, budget: Budget) -> int:
        """Run trials until the budget is spent; returns how many were finished.

        Raises `UserError` where the reference is unfit or something outside the candidates is broken; what is
        stored stays.
        """
        self._ledger.reconcile()
        reference = self._store.reference(self._name) or self._establish()
        earlier = self._store.trials(self._name)
        self._watcher.starts(
            trials=budget.trials, seconds=budget.seconds, reference=reference, earlier=earlier
        )
        done = 0
        for proposal in self._proposals(budget):
            self._serve(proposal, reference)
            done += 1
        return done

    def refine(self, assignment: Assignment, label: str, reference: Reference) -> int:
        """Measure refined weights; returns the trial's number. Strategies do not learn from it."""
        self._ledger.reconcile()
        return self._serve(Proposal(assignment, "refined", label), reference)

    def _proposals(self, budget: Budget) -> Iterator[Proposal]:
        """What is next, within the budget; the last ones of a run measure points of the front again."""
        deadline = Deadline(budget.seconds)
        wanted = self._prepared.spec.search.finalists
        last = wanted if budget.trials is None or budget.trials >= 5 * wanted else 0
        left = None if budget.trials is None else budget.trials - last
        while not self.is_stopping and not deadline.is_over and left != 0:
            proposal = self._queue.next()
            if proposal is None:
                self._watcher.say("every assignment has been measured: nothing is left to search")
                break
            yield proposal
            left = None if left is None else left - 1
        for _ in range(last):
            if self.is_stopping or (proposal := self._queue.finalist()) is None:
                return
            yield proposal

    def _establish(self) -> Reference:
        """Measure the reference and store it. Raises `StudyError` if it is unfit."""
        prepared, on_stage = self._prepared, self._watcher.stage
        measured = partial(measure, prepared, self._bench, on_stage=on_stage)
        reference, self._measured = establish(prepared, measured)
        self._store.put_reference(self._name, reference)
        return reference

    def _serve(self, proposal: Proposal, reference: Reference) -> int:
        """Measure one proposal and store its outcome, whatever it is; returns its number."""
        record = self._ledger.begin(proposal)
        self._watcher.begins(record)
        outcome: Measurement | TrialError
        try:
            outcome = self._measured.pop(record.assignment.digest, None) or measure(
                self._prepared,
                self._bench,
                record.assignment,
                reference.latency_ms,
                front=None if record.origin == "anchor" else self._ledger.front(),
                on_stage=self._watcher.stage,
            )
        except TrialError as error:
            outcome = error
        done = self._ledger.settle(record, outcome)
        self._watcher.ends(done, self._store.front(self._name))
        self._alike.add(done)
        return done.number
