"""What is measured next: anchors, enqueued mixes, interrupted trials, the strategy's proposals, finalists."""

from __future__ import annotations

from collections.abc import Callable, Container

from autoprec.backends.timing import Deadline
from autoprec.records import Assignment, Origin, Proposal
from autoprec.search import Priors, Strategy, affordable, create_strategy, finalists
from autoprec.spec import Budget
from autoprec.store import Run, Store
from autoprec.study.night.ledger import Ledger, searching
from autoprec.study.night.own import enqueued
from autoprec.study.night.priors import load_priors
from autoprec.study.night.tally import seconds_of
from autoprec.study.preparation import Prepared

_MOST_INTERRUPTIONS = 2
_SHARE_BEFORE_SEARCH = 0.2
"""Of a run's time, for all that comes before the strategy's first proposal."""


class Queue:
    """Proposals for one study.

    Args:
        prepared: blocks, anchors and the definition.
        store: the open store, bound to the study.
        ledger: what is stored, and the news for the strategy.
        measure_priors: measures the strategy's priors, once the anchors are measured; false while another
            process does.
        is_late: whether one more anchor would end behind the share of the time that comes before the search.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        ledger: Ledger,
        measure_priors: Callable[[], bool],
        is_late: Callable[[], bool],
    ) -> None:
        self._prepared = prepared
        self._store = store
        self._ledger = ledger
        self._measure_priors, self._is_late = measure_priors, is_late
        self._is_anchors_turn = False
        self._labels = {anchor: label for label, anchor in prepared.anchors}
        self._strategy: Strategy | None = None
        self._ready: list[Assignment] = []
        self._is_exhausted = False

    def next(self, room: int = 1) -> Proposal | None:
        """The first anchor without an outcome, else a mix of the user's, an interrupted trial, or a proposal.

        None if running trials must end first, or nothing is left. The strategy proposes `room` at a time.
        """
        ledger = self._ledger
        taken = {record.assignment for record in ledger.running.values()}
        anchors = (anchor for _, anchor in self._prepared.anchors)
        anchor = next((one for one in anchors if self._is_left(one, taken)), None)
        # Late, the strategy and the anchors take turns, once it has the reference's outcome to begin with.
        if anchor is not None and (self._is_anchors_turn or not ledger.settled or not self._is_late()):
            self._is_anchors_turn = False
            return self._labelled(anchor, "anchor")
        for assignment in enqueued(self._store, self._prepared):
            if self._is_left(assignment, taken):
                return self._labelled(assignment, "queued")
        # Only once: the trial itself may be what stopped the machine.
        for assignment, times in ledger.interrupted.items():
            if times == 1 and self._is_open(assignment) and assignment not in taken:
                return self._labelled(assignment, "queued")
        if self._strategy is None and not self._start_strategy():
            return None
        self._is_anchors_turn = True
        proposal = self._proposed(room)
        self._is_exhausted = self._is_exhausted and anchor is None
        return proposal

    def think_ahead(self) -> None:
        """Let the strategy propose while all workers are busy, so that the next free one need not wait."""
        if self._strategy is not None and not self._ready:
            self._strategy.learn(self._ledger.news())
            self._ready = list(self._strategy.propose(1))

    def is_exhausted(self) -> bool:
        """Whether every assignment has been tried."""
        return self._is_exhausted

    def finalist(self) -> Proposal | None:
        """The point whose next measurement matters most; None if nothing was measured."""
        taken = {record.assignment for record in self._ledger.running.values()}
        ranked = finalists(
            tuple(self._ledger.records.values()),
            len(taken) + 1,
            self._prepared.spec.search.accepted_loss,
        )
        again = next((assignment for assignment in ranked if assignment not in taken), None)
        return self._labelled(again, "finalist") if again else None

    def _proposed(self, room: int) -> Proposal | None:
        """The strategy's next proposal, skipping what others have taken meanwhile."""
        strategy, ledger = self._strategy, self._ledger
        assert strategy is not None
        taken = {record.assignment for record in ledger.running.values()}
        while self._ready:
            assignment = self._ready.pop(0)
            if self._is_open(assignment) and assignment not in taken:
                return self._labelled(assignment, "search")
        strategy.learn(ledger.news())
        self._ready = list(strategy.propose(room))
        if self._ready:
            return self._labelled(self._ready.pop(0), "search")
        self._is_exhausted = not ledger.running
        return None

    def _start_strategy(self) -> bool:
        """Create the strategy, after its priors have been measured; false if that has to wait."""
        ledger, search = self._ledger, self._prepared.spec.search
        # The anchors' profiles and losses decide which sensitivities are measured.
        if any(record.origin == "anchor" for record in ledger.running.values()):
            return False
        priors = Priors()
        if search.strategy == "autoprec":
            if not self._measure_priors():
                return False
            priors = load_priors(self._store, self._prepared.spec.name, search.accepted_loss)
        self._strategy = create_strategy(
            search.strategy, seed=search.seed, blocks=self._prepared.blocks, priors=priors
        )
        return True

    def _is_left(self, assignment: Assignment, taken: Container[Assignment]) -> bool:
        """Whether it has no outcome, nobody measures it, and it was not interrupted twice."""
        is_free = self._is_open(assignment) and assignment not in taken
        return is_free and self._ledger.interrupted[assignment] < _MOST_INTERRUPTIONS

    def _is_open(self, assignment: Assignment) -> bool:
        return assignment.digest not in self._ledger.settled

    def _labelled(self, assignment: Assignment, origin: Origin) -> Proposal:
        """A proposal; an anchor keeps its label, whatever it is measured for."""
        return Proposal(assignment=assignment, origin=origin, label=self._labels.get(assignment, ""))


class Allowance:
    """How much is left of a run's budget, which all of its processes share.

    Args:
        budget: of the run; its time is reduced by what finished trials took.
        finalists: how many points to measure again at the end; fewer in a short run.
        run: the run whose trials count.
        ledger: has these trials.
        begun: set when this process began to prepare.
    """

    def __init__(self, budget: Budget, finalists: int, run: Run, ledger: Ledger, begun: Deadline) -> None:
        done = ledger.spent(run)
        left = None if budget.seconds is None else max(0.0, budget.seconds - seconds_of(done))
        self._deadline, self._trials = Deadline(left), budget.trials
        # Preparing takes what it takes; what is left of its share is for the anchors, then for the priors.
        self._before_search = Deadline(None if left is None else left * _SHARE_BEFORE_SEARCH - begun.spent)
        self._begun = begun
        self._last = finalists if budget.trials is None else affordable(finalists, budget.trials)
        self.run, self._ledger = run, ledger
        self._is_winding_up = False

    def wind_up(self) -> None:
        """Allow nothing new; the best points may still be measured again."""
        self._is_winding_up = True

    def allows_search(self) -> bool:
        """Whether a new assignment may be tried."""
        if self._is_winding_up or self._deadline.left <= self._reserved():
            return False
        return self._trials is None or self._ledger.tally(self.run).searching < self._trials - self._last

    def allows_finalist(self) -> bool:
        """Whether another point may be measured again, once no search trial is running."""
        if self._deadline.is_over:
            return False
        tally = self._ledger.tally(self.run)
        all_of_them = tally.searching + tally.finalists
        return tally.finalists < self._last and (self._trials is None or all_of_them < self._trials)

    @property
    def seconds_left(self) -> float:
        """Seconds until the run's time is over; infinite if its budget is a number of trials."""
        return self._deadline.left

    def is_late(self) -> bool:
        """Whether one more trial would take more than the share of the time that comes before the search."""
        return self._before_search.left < self._ledger.tally(self.run).usual_seconds

    def lateness(self) -> str:
        """A line about a preparation that took more than that share; empty within it."""
        if not self._before_search.is_over:
            return ""
        spent, share = self._begun.spent, _SHARE_BEFORE_SEARCH
        return f"preparing took {spent:.0f} s, more than {share:.0%} of the time: the search proposes at once"

    def seconds_before_search(self) -> float:
        """Seconds left of that share; infinite if the budget is a number of trials."""
        return self._before_search.left

    def _reserved(self) -> float:
        """Seconds to reserve for finalists, in a run limited by time; 0 in a short one."""
        tally = self._ledger.tally(self.run)
        if self._trials is not None:
            return 0.0
        return affordable(self._last, len(tally.seconds)) * tally.usual_seconds

    @property
    def is_timed(self) -> bool:
        """Whether time ends the run, in each process by itself."""
        return self._trials is None

    def is_searching(self) -> bool:
        """Whether any process is still trying a new assignment."""
        return bool(searching(self._ledger.running.values()))
