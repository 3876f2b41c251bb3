"""One run of a search: gives free workers the next trials and settles finished ones until the budget is
spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from autoprec.backends.timing import Deadline
from autoprec.records import Assignment, Proposal, Reference, RunStart
from autoprec.spec import Budget
from autoprec.store import Run, Store
from autoprec.study.events import Watcher
from autoprec.study.night.own import unfit
from autoprec.study.night.priors import SensitivityAnalysis
from autoprec.study.night.queue import Allowance, Queue
from autoprec.study.night.reference import Establishing
from autoprec.study.night.runner import TrialRunner
from autoprec.study.preparation import Prepared

_PAUSE_SECONDS = 0.5
"""Between two polls of what other processes are doing."""


class Night:
    """One run; `stop` ends it after the trials in progress.

    Args:
        prepared: blocks, anchors and the definition.
        store: the open store, bound to the study once it has a reference.
        runner: begins trials, and settles them.
        establishing: measures the reference of a new study.
        analysis: measures the priors of the strategy.
        watcher: receives every step.
        begun: set when this process began to prepare.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        runner: TrialRunner,
        establishing: Establishing,
        analysis: SensitivityAnalysis,
        watcher: Watcher,
        begun: Deadline,
    ) -> None:
        self._prepared, self._store, self._runner, self._watcher = prepared, store, runner, watcher
        self._establishing, self._analysis, self._begun = establishing, analysis, begun
        self._allowance: Allowance | None = None
        self.is_stopping = False

    def stop(self) -> None:
        """End the run after the trials in progress; it can be resumed."""
        self.is_stopping = True

    def wind_up(self) -> None:
        """Try nothing new; measure the best points again, then end."""
        if self._allowance is not None:
            self._allowance.wind_up()

    def refine(self, assignment: Assignment, label: str) -> int:
        """Measure refined weights; returns the trial's number. Strategies do not learn from such trials."""
        self._runner.ledger.reconcile()
        reference = self._establishing.reference()
        number = self._runner.begin(
            Proposal(assignment=assignment, origin="refined", label=label), None, reference.latency_ms
        )
        assert number is not None
        self._runner.settle_finished(all_of_them=True)
        return number

    def run(self, opening: Callable[[], Run], budget: Budget) -> int:
        """Run trials until the budget is spent; returns how many this process has finished.

        Args:
            opening: gives the run, once the study is bound.
            budget: of the run.

        Raises `UserError` if the reference is unfit, or if something other than the candidates is broken;
        what is stored stays.
        """
        reference = self._establishing.reference(lambda: self._begin(opening(), budget))
        run = opening()
        if run.end:
            return 0
        if self._allowance is None:
            allowance = self._begin(run, budget, reference)
        else:
            allowance = self._allowance
            self._watcher.refers(reference)
        measure_priors = partial(self._analysis.measure, run, self._is_going, allowance.seconds_before_search)
        ledger, crew = self._runner.ledger, self._runner.crew
        queue = Queue(self._prepared, self._store, ledger, measure_priors, allowance.is_late)
        while True:
            ledger.sync()
            ledger.take_over()
            is_over = self._fill(queue, allowance, reference.latency_ms)
            if crew.is_idle and is_over:
                return self._runner.settled
            if crew.is_idle:
                time.sleep(_PAUSE_SECONDS)
            elif len(crew.slots) > 1 and not crew.has_room and allowance.allows_search():
                queue.think_ahead()  # with a single worker, the strategy does better to wait for its result
            self._runner.settle_finished()

    def _begin(self, run: Run, budget: Budget, reference: Reference | None = None) -> Allowance:
        """Begin to count the run's budget, and tell the watcher."""
        ledger, search = self._runner.ledger, self._prepared.spec.search
        ledger.reconcile()
        self._allowance = allowance = Allowance(budget, search.finalists, run, ledger, self._begun)
        for words in unfit(self._store, self._prepared):
            self._watcher.say(words)
        before = len(ledger.spent(run))
        left = None if budget.trials is None else max(0, budget.trials - before)
        earlier = tuple(record for record in ledger.records.values() if record.state != "running")
        seconds = None if budget.seconds is None else allowance.seconds_left
        self._watcher.starts(
            RunStart(trials=left, seconds=seconds, reference=reference, earlier=earlier, done=before)
        )
        return allowance

    def _fill(self, queue: Queue, allowance: Allowance, reference_ms: float) -> bool:
        """Begin trials on free workers; true once nothing is left to begin or to wait for."""
        crew = self._runner.crew
        while crew.has_room and not self.is_stopping:
            if allowance.allows_search() and not queue.is_exhausted():
                proposal = queue.next(crew.room)
                if queue.is_exhausted():
                    self._watcher.say("all that `autoprec blocks` allows is measured: nothing is left")
                    continue
            elif allowance.is_searching():  # finalists are chosen once the front is complete
                return allowance.is_timed and crew.is_idle
            else:
                proposal = queue.finalist() if allowance.allows_finalist() else None
                if proposal is None:
                    return True
            if proposal is None or not self._is_going():  # measuring sensitivities in the queue takes time
                return not self._is_going()
            is_last = proposal.origin == "finalist"
            allows = allowance.allows_finalist if is_last else allowance.allows_search
            self._runner.begin(proposal, allowance.run, reference_ms, allows)
        return self.is_stopping

    def _is_going(self) -> bool:
        return not self.is_stopping
