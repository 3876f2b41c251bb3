"""Our strategy: surrogates that start from the priors, and expected hypervolume improvement.

Each proposal is a function of the seed, the trial's number and the trials so far, so a study that is
resumed, or has several workers, needs no state of the sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from threadpoolctl import ThreadpoolController

from autoprec.records import Block
from autoprec.search._base import Priors
from autoprec.search.acquisition import Acquisition
from autoprec.search.history import FIXED, History
from autoprec.search.pool import any_unknown, mutants, unknown
from autoprec.search.proposals import search_space
from autoprec.search.space import Codes, Space

RANDOM = 30
"""Random rows in a pool: they keep the surrogates honest where nobody looks."""
CHILDREN, PARENTS, ROUNDS = 90, 8, 3
"""Local search on the acquisition: mutants of the best, round after round."""


class AutoprecSampler(BaseSampler):
    """Optuna sampler for (latency_ms, loss), both minimised, over one categorical for each block.

    Proposes what no trial has tried yet, as long as there is anything left; then whatever a random
    sampler would. Running and queued trials count as measured at what is expected of them.
    """

    def __init__(self, blocks: Sequence[Block], *, seed: int, priors: Priors | None = None) -> None:
        self._blocks = tuple(blocks)
        self._space = Space(blocks)
        self._seed = seed
        self._priors = priors or Priors()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """The blocks given at construction."""
        return search_space(self._blocks)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next assignment; empty for a queued trial, which brings its own."""
        if FIXED in trial.system_attrs or not search_space:
            return {}
        history = History.of(self._space, study.get_trials(deepcopy=False), trial.number)
        rng = np.random.default_rng([self._seed, trial.number])
        with ThreadpoolController().limit(limits=1, user_api="blas"):
            # Beside other processes, threads wait 30 times as long for one another as such matrices take.
            return self._space.decode(self._next(history, rng))

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random choice for a categorical parameter that is no block. Raises `TypeError` for others."""
        if not isinstance(param_distribution, CategoricalDistribution):
            raise TypeError(f"{param_name!r} is not categorical; only precisions of blocks are chosen here")
        rng = np.random.default_rng([self._seed, trial.number, *param_name.encode()])
        return param_distribution.choices[rng.integers(len(param_distribution.choices))]

    def _next(self, history: History, rng: np.random.Generator) -> Codes:
        """The unknown assignment (blocks,) of most expected use."""
        space = self._space
        if not len(history.measured):
            return self._blind(unknown(space.draw(rng, RANDOM), history.known), history, rng)
        acquisition = Acquisition(space, self._priors, history, rng)
        front = history.measured[history.front if history.front.any() else slice(None)]
        pool = (acquisition.swept, space.draw(rng, RANDOM), mutants(space, front, rng, CHILDREN))
        best = unknown(np.concatenate(pool), history.known)
        if not len(best):
            return self._blind(best, history, rng)
        scores = acquisition(best)
        for _ in range(ROUNDS):
            order = np.argsort(-scores, kind="stable")[:PARENTS]
            best, scores = best[order], scores[order]
            known = history.known | set(map(tuple, best.tolist()))
            children = unknown(mutants(space, best, rng, CHILDREN), known)
            best = np.concatenate((best, children))
            scores = np.concatenate((scores, acquisition(children)))
        chosen: Codes = best[int(np.argmax(scores))]
        return chosen

    def _blind(self, fresh: Codes, history: History, rng: np.random.Generator) -> Codes:
        """A row without the help of surrogates: fresh if there is any left, else drawn."""
        if not len(fresh):
            fresh = any_unknown(self._space, history.known)
        rows: Codes = fresh if len(fresh) else self._space.draw(rng, 1)
        return np.asarray(rows[0])


def create(seed: int, trials: int, blocks: Sequence[Block], priors: Priors) -> BaseSampler:  # noqa: ARG001
    """The sampler that knows more than a general one does. It draws anew for every trial's number."""
    return AutoprecSampler(blocks, seed=seed, priors=priors)
