"""What to try next: the strategies, the anchors that come before them, and the front they leave.

A new strategy is one new file and one line in the table. Objectives are (latency_ms, loss), both
minimised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from autoprec.errors import SpecError
from autoprec.records import Block
from autoprec.search._base import Factory, Priors, RoughScore, Strategy
from autoprec.search.finalists import affordable, finalists, pooled
from autoprec.search.proposals import anchors, search_space
from autoprec.search.strategies import autoprec, nsga2, random, tpe
from autoprec.search.transfer import transferred

STRATEGIES: Mapping[str, Factory] = MappingProxyType(
    {
        "autoprec": autoprec.create,
        "tpe": tpe.create,
        "nsga2": nsga2.create,
        "random": random.create,
    }
)


def create_strategy(
    name: str, *, seed: int, blocks: Sequence[Block], priors: Priors | None = None
) -> Strategy:
    """The strategy of that name for these blocks, which are in graph order; it has learnt nothing yet.

    Args:
        name: one of `STRATEGIES`.
        seed: of everything that it draws.
        blocks: in graph order.
        priors: what is known before the first trial.

    Raises `SpecError` for an unknown strategy.
    """
    if name not in STRATEGIES:
        raise SpecError(f"unknown search strategy {name!r}; known: {', '.join(STRATEGIES)}")
    return STRATEGIES[name](seed, blocks, priors or Priors())


__all__ = [
    "STRATEGIES",
    "Priors",
    "RoughScore",
    "Strategy",
    "affordable",
    "anchors",
    "create_strategy",
    "finalists",
    "pooled",
    "search_space",
    "transferred",
]
