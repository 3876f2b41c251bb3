"""What to try next: the strategies, the anchors that come before them, and the front they leave.

A new strategy is one new file and one line in the table. Objectives are (latency_ms, loss), both
minimised; each block is one categorical parameter of the Optuna trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from optuna.samplers import BaseSampler

from autoprec.errors import SpecError
from autoprec.records import Block
from autoprec.search import autoprec, nsga2, random, tpe
from autoprec.search._base import Factory, Priors
from autoprec.search.autoprec import AutoprecSampler
from autoprec.search.finalists import finalists, pooled
from autoprec.search.history import FAILURE_KIND, REFINED
from autoprec.search.proposals import anchors, assignment_of, propose, search_space

STRATEGIES: Mapping[str, Factory] = MappingProxyType(
    {
        "autoprec": autoprec.create,
        "tpe": tpe.create,
        "nsga2": nsga2.create,
        "random": random.create,
    }
)


def create_sampler(
    strategy: str, *, seed: int, blocks: Sequence[Block], priors: Priors | None = None, trials: int = 0
) -> BaseSampler:
    """The sampler of a strategy for these blocks, given in graph order.

    `trials` is how many the study already holds, so that a second night does not replay the first.
    Raises `SpecError` for an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise SpecError(f"unknown search strategy {strategy!r}; known ones: {', '.join(STRATEGIES)}")
    return STRATEGIES[strategy](seed, trials, blocks, priors or Priors())


__all__ = [
    "FAILURE_KIND",
    "REFINED",
    "STRATEGIES",
    "AutoprecSampler",
    "Priors",
    "anchors",
    "assignment_of",
    "create_sampler",
    "finalists",
    "pooled",
    "propose",
    "search_space",
]
