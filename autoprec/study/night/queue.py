"""What is measured next: anchors, trials that were cut off, then what the strategy proposes."""

from __future__ import annotations

from collections.abc import Callable

from autoprec.records import Assignment, Origin
from autoprec.search import Priors, Strategy, create_strategy, finalists
from autoprec.store import Store
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.priors import load_priors
from autoprec.study.night.proposal import Proposal
from autoprec.study.preparation import Prepared


class Queue:
    """Proposals for one study.

    Args:
        prepared: blocks, anchors and the definition.
        store: the open store, bound to the study.
        ledger: what is settled, and what is new for the strategy.
        measure_priors: measures what the strategy starts from, once the anchors are there.
    """

    def __init__(
        self, prepared: Prepared, store: Store, ledger: Ledger, measure_priors: Callable[[], None]
    ) -> None:
        self._prepared = prepared
        self._store = store
        self._ledger = ledger
        self._measure_priors = measure_priors
        self._labels = {anchor: label for label, anchor in prepared.anchors}
        self._strategy: Strategy | None = None

    def next(self) -> Proposal | None:
        """The first anchor without an outcome, else an interrupted trial, else what the strategy proposes.

        A trial that was interrupted is queued again once: it may be what stopped the machine. None if every
        assignment has been tried.
        """
        settled, interrupted = self._ledger.settled, self._ledger.interrupted
        for _, assignment in self._prepared.anchors:
            if assignment.digest not in settled and interrupted[assignment] < 2:
                return self._labelled(assignment, "anchor")
        for assignment, times in interrupted.items():
            if times == 1 and assignment.digest not in settled:
                return self._labelled(assignment, "queued")
        if self._strategy is None:
            self._strategy = self._created()
        self._strategy.learn(self._ledger.news())
        proposed = self._strategy.propose()
        return self._labelled(proposed[0], "search") if proposed else None

    def finalist(self) -> Proposal | None:
        """The point of the front whose second measurement says most; None if nothing was measured."""
        again = finalists(self._store.trials(self._prepared.spec.name), 1)
        return self._labelled(again[0], "finalist") if again else None

    def _created(self) -> Strategy:
        """The definition's strategy; the priors are measured first, from the anchors on."""
        search, priors = self._prepared.spec.search, Priors()
        if search.strategy == "autoprec":
            self._measure_priors()
            priors = load_priors(self._store, self._prepared.spec.name, search.accepted_loss)
        return create_strategy(search.strategy, seed=search.seed, blocks=self._prepared.blocks, priors=priors)

    def _labelled(self, assignment: Assignment, origin: Origin) -> Proposal:
        """An anchor keeps its label, whatever it is measured for."""
        return Proposal(assignment, origin, self._labels.get(assignment, ""))
