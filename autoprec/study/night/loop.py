"""One run of a search: gives free workers the next trials and settles finished ones until the budget is
spent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

from autoprec.backends.timing import Deadline
from autoprec.errors import TrialError
from autoprec.records import Assignment, MeasuredOn, Measurement, Reference, RunStart, TrialRecord
from autoprec.spec import Budget
from autoprec.store import Membership, Run, Store, host
from autoprec.study.events import Watcher
from autoprec.study.night.alike import Alike
from autoprec.study.night.candidates import Made, measure
from autoprec.study.night.crew import Crew, Finished, Slot
from autoprec.study.night.heart import Heart
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.own import unfit
from autoprec.study.night.priors import measure_sensitivity
from autoprec.study.night.proposal import Proposal
from autoprec.study.night.queue import Allowance, Queue
from autoprec.study.night.reference import Establishing
from autoprec.study.preparation import Prepared
from autoprec.study.preparation.alongside import nothing

DEVICES, PRIORS = "device", "priors"
"""Kinds of facts: what each device's own reference took, and which runs have measured their priors."""
_SHARE_BEFORE_SEARCH = 0.2
"""Of a run's time, for all that comes before the strategy's first proposal."""
_PAUSE_SECONDS = 0.5
"""Between two polls of what other processes are doing."""


class Night:
    """One run; `stop` ends it after the trials in progress.

    Args:
        prepared: model, blocks, rewriter and identity.
        store: the open store, bound to the study.
        ledger: reads and writes trials.
        membership: this process's participation in the study.
        crew: the workers.
        heart: reports what the workers are doing.
        watcher: receives every step.
        begun: set when this process began to prepare.
        establishing: measures the reference of a new study.
        established: called once there is one.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        ledger: Ledger,
        membership: Membership,
        crew: Crew[TrialRecord, Measurement],
        heart: Heart,
        watcher: Watcher,
        begun: Deadline,
        establishing: Establishing,
        established: Callable[[], None] = nothing,
    ) -> None:
        self._prepared, self._store, self._crew, self._watcher = prepared, store, crew, watcher
        self._name = prepared.spec.name
        self._ledger, self._membership, self._heart = ledger, membership, heart
        self._made: dict[str, Made] = {}
        """What was measured for the reference, by digest: these anchors need not be measured again."""
        self._told: dict[int, Made] = {}
        """Those that are a running trial by now, by its number."""
        self._seen: set[str] = set()
        """Devices whose own reference latency is stored."""
        self._alike = Alike()
        self._allowance: Allowance | None = None
        self._begun, self._before_search = begun, Deadline(None)
        self._establishing, self._established = establishing, established
        self._done = 0
        self.is_stopping = False

    def stop(self) -> None:
        """End the run after the trials in progress; it can be resumed."""
        self.is_stopping = True

    def wind_up(self) -> None:
        """Try nothing new; measure the best points again, then end."""
        if self._allowance is not None:
            self._allowance.wind_up()

    @property
    def seconds_left(self) -> float:
        """Seconds until the run's time is over; infinite if its budget is a number of trials."""
        return math.inf if self._allowance is None else self._allowance.seconds_left

    def establish(self, first: Callable[[Made], None] = lambda _: None) -> Reference:
        """The stored reference; if there is none, measure and store it.

        `first` receives its own measurement as soon as that is made, before FP32 is measured; the study is
        bound then. Raises `StudyError` for a reference that is unfit.
        """
        reference = self._establishing.stored()
        if reference is None:
            self._ledger.sync()
            trial = self._ledger.settled.get(self._prepared.reference.digest)
            is_ours = trial is not None and trial.fingerprint == self._prepared.identity.fingerprint.digest
            stored = trial.measurement if trial is not None and is_ours else None
            reference, outcomes = self._establishing.measured(stored, first)
            self._made |= outcomes
        self._established()
        self._crew.load(self._prepared.material)  # not earlier: the first trial would wait for processors
        return reference

    def run(self, opening: Callable[[], Run], budget: Budget) -> int:
        """Run trials until the budget is spent; returns how many this process has finished.

        Args:
            opening: gives the run, once the study is bound.
            budget: of the run.

        Raises `UserError` if the reference is unfit, or if something other than the candidates is broken;
        what is stored stays.
        """
        allowance: Allowance | None = None

        def first(outcome: Made) -> None:
            nonlocal allowance
            allowance = self._start(opening(), budget, None)
            self._tell(opening(), outcome, allowance)

        reference = self.establish(first)
        run = opening()
        if run.end:
            return 0
        if allowance is None:
            allowance = self._start(run, budget, reference)
        else:
            self._watcher.refers(reference)
        queue = Queue(
            self._prepared,
            self._store,
            self._ledger,
            partial(self._measure_priors, run),
            lambda: self._before_search.is_over,
        )
        while True:
            self._ledger.sync()
            self._ledger.take_over()
            is_over = self._fill(queue, allowance, run, reference.latency_ms)
            if self._crew.is_idle and is_over:
                return self._done
            if self._crew.is_idle:
                time.sleep(_PAUSE_SECONDS)
            elif len(self._crew.slots) > 1 and not self._crew.has_room and allowance.allows_search():
                queue.think_ahead()  # with a single worker, the strategy does better to wait for its result
            for finished in self._crew.finished():
                self._settle(finished)

    def _start(self, run: Run, budget: Budget, reference: Reference | None) -> Allowance:
        """Begin to count the run's budget, and tell the watcher."""
        self._ledger.reconcile()
        allowance = Allowance(budget, self._prepared.spec.search.finalists, run, self._ledger)
        self._allowance = allowance
        for words in unfit(self._store, self._prepared):
            self._watcher.say(words)
        before = len(self._ledger.spent(run))
        left = None if budget.trials is None else max(0, budget.trials - before)
        earlier = tuple(record for record in self._ledger.records.values() if record.state != "running")
        seconds = None if budget.seconds is None else allowance.seconds_left
        if seconds is not None:  # preparing and anchors take what they take; what is left is for the priors
            self._before_search = Deadline(seconds * _SHARE_BEFORE_SEARCH - self._begun.spent)
        self._watcher.starts(
            RunStart(trials=left, seconds=seconds, reference=reference, earlier=earlier, done=before)
        )
        return allowance

    def _tell(self, run: Run, outcome: Made, allowance: Allowance) -> None:
        """Store and tell the reference's own trial, if it is one."""
        assignment = self._prepared.reference
        label = next((label for label, anchor in self._prepared.anchors if anchor == assignment), None)
        if label is not None:
            self._made[assignment.digest] = outcome
            proposal = Proposal(assignment, "anchor", label)
            self._begin(proposal, run, outcome.measurement.latency_ms, allowance.allows_search)
            for finished in self._crew.finished(all_of_them=True):
                self._settle(finished)

    def refine(self, assignment: Assignment, label: str) -> int:
        """Measure refined weights; returns the trial's number. Strategies do not learn from such trials."""
        self._ledger.reconcile()
        number = self._begin(Proposal(assignment, "refined", label), None, self.establish().latency_ms)
        assert number is not None
        for finished in self._crew.finished(all_of_them=True):
            self._settle(finished)
        return number

    def _fill(self, queue: Queue, allowance: Allowance, run: Run, reference_ms: float) -> bool:
        """Start trials on free workers; true once nothing is left to start or to wait for."""
        while self._crew.has_room and not self.is_stopping:
            if allowance.allows_search() and not queue.is_exhausted():
                proposal = queue.next(self._crew.room)
                if queue.is_exhausted():
                    self._watcher.say("all that `autoprec blocks` allows is measured: nothing is left")
                    continue
            elif allowance.is_searching():  # finalists are chosen once the front is complete
                return allowance.is_timed and self._crew.is_idle
            else:
                proposal = queue.finalist() if allowance.allows_finalist() else None
                if proposal is None:
                    return True
            if proposal is None or not self._is_going():  # measuring sensitivities in the queue takes time
                return not self._is_going()
            is_last = proposal.origin == "finalist"
            allows = allowance.allows_finalist if is_last else allowance.allows_search
            self._begin(proposal, run, reference_ms, allows)
        return self.is_stopping

    def _begin(
        self,
        proposal: Proposal,
        run: Run | None,
        reference_ms: float,
        allows: Callable[[], bool] = lambda: True,
    ) -> int | None:
        """Start a trial on a free worker; None if another process has taken it, or the rest of the budget."""
        digest = proposal.assignment.digest
        early = self._made.get(digest) if proposal.origin == "anchor" else None
        device = early.device if early else self._crew.next.device
        record = self._ledger.begin(
            proposal, run, f"{host().split()[0]} {device.name}", allows, early.start if early else ""
        )
        if record is None:
            return None
        if early is not None:
            self._told[record.number] = self._made.pop(digest)
        self._watcher.begins(record)
        front = None if record.origin == "anchor" else self._ledger.to_race(reference_ms)

        def work(slot: Slot, record: TrialRecord) -> Measurement:
            return (
                early.measurement
                if early
                else measure(
                    self._prepared,
                    slot,
                    record.assignment,
                    reference_ms,
                    front=front,
                    on_stage=lambda name: self._stage(record.number, slot, name),
                )
            )

        self._crew.start(record, work)
        return record.number

    def _stage(self, trial: int, slot: Slot, name: str) -> None:
        self._watcher.stage(name, trial)
        self._heart.stage(trial, slot.device.name, name)

    def _settle(self, finished: Finished[TrialRecord, Measurement]) -> None:
        """Store the outcome of a trial."""
        outcome: Measurement | TrialError
        try:
            outcome = finished.result()
        except TrialError as error:
            outcome = error
        early = self._told.pop(finished.item.number, None)
        done = self._ledger.settle(finished.item, outcome, early.end if early else "")
        self._heart.over(done.number)
        device = early.device if early else finished.slot.device
        if isinstance(outcome, Measurement) and device.name not in self._seen:
            self._seen.add(device.name)
            fact = MeasuredOn(kind=device.kind, reference_ms=outcome.latency.reference_median_ms)
            self._store.put_fact(self._name, DEVICES, done.worker, fact)
        self._done += 1
        self._watcher.ends(done, self._ledger.front)
        self._alike.add(done)

    def _is_going(self) -> bool:
        return not self.is_stopping

    def _measure_priors(self, run: Run) -> bool:
        """Measure priors, once in a run and by one process; false while that is not done."""
        if not self._crew.is_idle:
            return False
        with self._membership.holding("priors") as is_mine:
            done = self._store.facts(self._name, PRIORS, bool)
            if is_mine and str(run.id) not in done:
                measure_sensitivity(
                    self._prepared,
                    self._store,
                    self._crew,
                    self._watcher.say,
                    self._is_going,
                    self._before_search.left,
                )
                if self._is_going():
                    self._store.put_fact(self._name, PRIORS, str(run.id), value=True)
        return is_mine
