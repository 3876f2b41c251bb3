"""One run of a search: gives free workers the next trials and settles finished ones until the budget is
spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from autoprec.records import Assignment, Proposal, Reference
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
    """The trials of one run, from the reference on.

    Args:
        prepared: blocks, anchors and the definition.
        store: the open store, bound to the study once it has a reference.
        runner: begins trials, and settles them.
        establishing: measures the reference of a new study.
        analysis: measures the priors of the strategy.
        watcher: receives every step.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        runner: TrialRunner,
        establishing: Establishing,
        analysis: SensitivityAnalysis,
        watcher: Watcher,
    ) -> None:
        self._prepared, self._store, self._runner, self._watcher = prepared, store, runner, watcher
        self._establishing, self._analysis = establishing, analysis

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

    def run(
        self, begin: Callable[[Reference | None], Allowance], stops: Callable[[], bool] = lambda: False
    ) -> Run:
        """Run trials until the budget is spent; returns the run.

        Args:
            begin: begins the run once the study is bound, and gives what is left of its budget; told the
                reference, or None while that is still being measured.
            stops: whether nothing is to be begun any more; it ends after the trials in progress.

        Raises `UserError` if the reference is unfit, or if something other than the candidates is broken;
        what is stored stays.
        """
        reference = self._establishing.reference(lambda: begin(None))
        allowance = begin(reference)
        if allowance.run.end:
            return allowance.run
        for words in unfit(self._store, self._prepared):
            self._watcher.say(words)
        if words := allowance.lateness():
            self._watcher.say(words)
        going = lambda: not stops()  # noqa: E731
        ledger, crew = self._runner.ledger, self._runner.crew
        measure_priors = partial(
            self._analysis.measure, allowance.run, going, allowance.seconds_before_search
        )
        queue = Queue(self._prepared, self._store, ledger, measure_priors, allowance.is_late)
        while True:
            ledger.sync()
            ledger.take_over()
            is_over = self._fill(queue, allowance, reference.latency_ms, going)
            if crew.is_idle and is_over:
                return allowance.run
            if crew.is_idle:
                time.sleep(_PAUSE_SECONDS)
            elif len(crew.slots) > 1 and not crew.has_room and allowance.allows_search():
                queue.think_ahead()  # with a single worker, the strategy does better to wait for its result
            self._runner.settle_finished()

    def _fill(
        self, queue: Queue, allowance: Allowance, reference_ms: float, going: Callable[[], bool]
    ) -> bool:
        """Begin trials on free workers; true once nothing is left to begin or to wait for."""
        crew = self._runner.crew
        while crew.has_room and going():
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
            if proposal is None or not going():  # measuring sensitivities in the queue takes time
                return not going()
            is_last = proposal.origin == "finalist"
            allows = allowance.allows_finalist if is_last else allowance.allows_search
            self._runner.begin(proposal, allowance.run, reference_ms, allows)
        return not going()
