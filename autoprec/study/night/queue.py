"""What is measured next: anchors, trials that were cut off, then what the strategy proposes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna

from autoprec.records import Assignment, Origin
from autoprec.search import REFINED, Priors, create_sampler, finalists, propose
from autoprec.store import Store
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.priors import load_priors
from autoprec.study.night.proposal import Proposal
from autoprec.study.preparation import Prepared

_REPEATS = 100
"""So many proposals in a row that were measured before, and an unseen one is drawn at random."""
_DRAWS = 10_000
"""So many draws without an unseen assignment, and the search space counts as exhausted."""


class Queue:
    """Proposals for one study.

    Args:
        prepared: blocks, anchors and the definition.
        store: the open store, bound to the study.
        trials: the Optuna study in the same database.
        ledger: what is settled.
        learn: measures what the strategy starts from, once the anchors are there.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        trials: optuna.Study,
        ledger: Ledger,
        learn: Callable[[], None],
    ) -> None:
        self._prepared = prepared
        self._store = store
        self._trials = trials
        self._ledger = ledger
        self._learn = learn
        self._labels = {anchor: label for label, anchor in prepared.anchors}
        self._has_strategy = False

    def next(self) -> Proposal | None:
        """The first anchor without an outcome, else an interrupted trial, else what the strategy proposes.

        A trial that was interrupted is queued again once: it may be what stopped the machine. None if every
        assignment has been measured.
        """
        settled, interrupted = self._ledger.settled, self._ledger.interrupted
        for _, assignment in self._prepared.anchors:
            if assignment.digest not in settled and interrupted[assignment] < 2:
                return self._queued(assignment, "anchor")
        for assignment, times in interrupted.items():
            if times == 1 and assignment.digest not in settled:
                return self._queued(assignment, "queued")
        self._use_strategy()
        for _ in range(_REPEATS):
            trial, assignment = propose(self._trials, self._prepared.blocks)
            earlier = settled.get(assignment.digest)
            if earlier is None:
                return Proposal(trial, assignment, "search")
            self._ledger.repeat(trial, earlier)
        fresh = self._unseen()
        return None if fresh is None else self._queued(fresh, "search")

    def finalist(self) -> Proposal | None:
        """The point of the front whose second measurement says most; None if nothing was measured."""
        again = finalists(self._store.trials(self._prepared.spec.name), 1)
        return self._queued(again[0], "finalist") if again else None

    def refined(self, assignment: Assignment, label: str) -> Proposal:
        """A trial with refined weights; strategies do not learn from it."""
        proposal = self._queued(assignment, "refined")
        proposal.trial.set_user_attr(REFINED, True)
        return Proposal(proposal.trial, assignment, "refined", label)

    def _use_strategy(self) -> None:
        """Once the anchors are there: measure the priors, and give Optuna the definition's sampler."""
        if self._has_strategy:
            return
        search, priors = self._prepared.spec.search, Priors()
        if search.strategy == "autoprec":
            self._learn()
            priors = load_priors(self._store, self._prepared.spec.name, search.accepted_loss)
        earlier = len(self._trials.get_trials(deepcopy=False))
        self._trials.sampler = create_sampler(
            search.strategy, seed=search.seed, blocks=self._prepared.blocks, priors=priors, trials=earlier
        )
        self._has_strategy = True

    def _unseen(self) -> Assignment | None:
        """An assignment that was never measured, drawn at random; None if none is found."""
        settled, blocks = self._ledger.settled, self._prepared.blocks
        random = np.random.default_rng(len(settled))
        for _ in range(_DRAWS):
            choices = tuple((block.name, str(random.choice(block.allowed))) for block in blocks)
            if Assignment(choices=choices).digest not in settled:
                return Assignment(choices=choices)
        return None

    def _queued(self, assignment: Assignment, origin: Origin) -> Proposal:
        """An Optuna trial with a given assignment; an anchor's keeps its label."""
        self._trials.enqueue_trial(assignment.as_dict())
        trial, proposed = propose(self._trials, self._prepared.blocks)
        return Proposal(trial, proposed, origin, self._labels.get(assignment, ""))
