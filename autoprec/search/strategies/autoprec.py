"""The default strategy: surrogates that start from the priors, and expected hypervolume improvement.

A proposal is a function of the seed and the trials learnt so far; resumed studies and several workers need no
other state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import ThreadpoolController

from autoprec.records import Assignment, Block, TrialRecord
from autoprec.search._base import Priors, Strategy
from autoprec.search.history import History, Trials
from autoprec.search.pool import any_unknown, mutants, unknown
from autoprec.search.space import Codes, Row, Space
from autoprec.search.surrogates.acquisition import Acquisition

CHANCE = 0.1
"""Expected gain in speed, as a part of the speed-up so far, above which two of three trials seek speed within
the accepted loss; below it one of two does. The others widen the front."""
RANDOM = 30
"""Random rows in each pool: they expose the surrogates' errors far from the front."""
CHILDREN, PARENTS, ROUNDS = 90, 8, 8
"""Local search on the acquisition: mutants of the best, round after round. Over 3 rounds, 8 gain 0.0005 of
hypervolume after 50 trials on tabular problems; any effect on the share of the speed-up is within the
noise."""


class AutoprecStrategy:
    """Proposes untried assignments, as long as any are left."""

    def __init__(self, blocks: Sequence[Block], *, seed: int, priors: Priors | None = None) -> None:
        self._blocks = tuple(blocks)
        self._space = Space(blocks)
        self._seed = seed
        self._priors = priors or Priors()
        self._trials = Trials(self._space)

    def learn(self, records: Iterable[TrialRecord]) -> None:
        """See `Strategy`."""
        self._trials.learn(records)

    def propose(self, count: int = 1) -> tuple[Assignment, ...]:
        """See `Strategy`. Each proposal counts as running for the next one; one fit serves all."""
        history, chosen = self._trials.history(), list[Row]()
        rng = np.random.default_rng([self._seed, self._trials.next_number])
        with ThreadpoolController().limit(limits=1, user_api="blas"):
            # On busy cores BLAS threads wait for one another 30 times as long as such small matrices take.
            acquisition = (
                Acquisition(self._space, self._priors, history, rng) if len(history.measured) else None
            )
            while len(chosen) < count and len(history.known) < self._space.size:
                codes = self._next(acquisition, history, rng)
                chosen.append(tuple(codes.tolist()))
                history = replace(history, known=history.known | {chosen[-1]})
                if acquisition is not None:
                    acquisition.expect(codes)
        return tuple(Assignment.from_mapping(self._blocks, self._space.decode(row)) for row in chosen)

    def _next(self, acquisition: Acquisition | None, history: History, rng: np.random.Generator) -> Codes:
        """The unknown row (blocks,) that is expected to be worth most; at least one must be left."""
        space, drawn = self._space, self._space.draw(rng, RANDOM)
        if acquisition is None:
            return self._blind(unknown(drawn, history.known), history)
        # Where every trial exceeds a limit, nothing is on the front, and all trials are parents.
        front = history.measured[history.front if history.front.any() else slice(None)]
        best = unknown(
            np.concatenate((acquisition.swept, drawn, mutants(space, front, rng, CHILDREN))), history.known
        )
        if not len(best):
            return self._blind(best, history)
        draws = acquisition.draws(best)
        worth = acquisition.speed if _seeks_speed(acquisition.chance(draws), history) else acquisition.area
        scores = worth(draws)
        for _ in range(ROUNDS):
            order = np.argsort(-scores, kind="stable")[:PARENTS]
            best, scores = best[order], scores[order]
            # The parents stay in the pool; a child equal to one would only double it.
            tried = history.known | set(map(tuple, best.tolist()))
            children = unknown(mutants(space, best, rng, CHILDREN), tried)
            best = np.concatenate((best, children))
            scores = np.concatenate((scores, worth(acquisition.draws(children))))
        chosen: Codes = best[int(np.argmax(scores))]
        return chosen

    def _blind(self, fresh: Codes, history: History) -> Codes:
        """A row chosen without surrogates: the first of `fresh`, else any that is left."""
        rows: Codes = fresh if len(fresh) else any_unknown(self._space, history.known)
        return np.asarray(rows[0])


def _seeks_speed(chance: float, history: History) -> bool:
    """Whether the next trial aims at speed within the accepted loss, rather than at a wider front."""
    # Counted from the trials, not by a counter: a resumed study or another worker takes the same turn.
    turn = len(history.known)
    return turn % 3 < 2 if chance > CHANCE else turn % 2 == 0


def create(seed: int, blocks: Sequence[Block], priors: Priors) -> Strategy:
    """The default strategy."""
    return AutoprecStrategy(blocks, seed=seed, priors=priors)
