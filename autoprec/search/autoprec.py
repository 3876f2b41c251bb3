"""Our strategy: surrogates that start from the priors, and expected hypervolume improvement.

Each proposal is a function of the seed, the trial's number and the trials so far, so a study that is
resumed, or has several workers, needs no state of the sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from autoprec.records import Block
from autoprec.search._base import Priors
from autoprec.search.acquisition import Acquisition
from autoprec.search.history import FIXED, History
from autoprec.search.pool import any_unknown, mutants, unknown
from autoprec.search.proposals import search_space
from autoprec.search.space import Codes, Space

CHILDREN = 90
RANDOM = 30
ROUNDS = 3
PARENTS = 8


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
        return self._space.decode(self._next(history, rng))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for parameters that are not blocks."""
        name = int.from_bytes(param_name.encode()[:8], "big")
        rng = np.random.RandomState(
            np.random.SeedSequence([self._seed, trial.number, name]).generate_state(1)
        )
        choices = getattr(param_distribution, "choices", None)
        if choices is None:
            raise ValueError(
                f"{param_name!r} is not categorical; this sampler chooses precisions of blocks only"
            )
        return choices[rng.randint(len(choices))]

    def _next(self, history: History, rng: np.random.Generator) -> Codes:
        """The unknown assignment of most expected use."""
        if not len(history.measured):
            fresh = unknown(self._space.draw(rng, RANDOM), history.known)
            return self._one(fresh, history, rng)
        acquisition = Acquisition(self._space, self._priors, history, rng)
        pool = np.concatenate(
            (acquisition.sweeps(), self._space.draw(rng, RANDOM), self._around(history, rng))
        )
        best = unknown(pool, history.known)
        if not len(best):
            return self._one(best, history, rng)
        scores = acquisition(best)
        for _ in range(ROUNDS):
            order = np.argsort(-scores, kind="stable")[:PARENTS]
            best, scores = best[order], scores[order]
            children = unknown(
                mutants(self._space, best, rng, CHILDREN), history.known | set(map(tuple, best.tolist()))
            )
            if not len(children):
                break
            best = np.concatenate((best, children))
            scores = np.concatenate((scores, acquisition(children)))
        return best[int(np.argmax(scores))]

    def _around(self, history: History, rng: np.random.Generator) -> Codes:
        return mutants(self._space, history.measured[history.front], rng, CHILDREN)

    def _one(self, fresh: Codes, history: History, rng: np.random.Generator) -> Codes:
        """A row without the help of surrogates."""
        if not len(fresh):
            fresh = any_unknown(self._space, history.known)
        return fresh[0] if len(fresh) else self._space.draw(rng, 1)[0]


def create(seed: int, blocks: Sequence[Block], priors: Priors) -> BaseSampler:
    """The sampler that knows more than a general one does."""
    return AutoprecSampler(blocks, seed=seed, priors=priors)
