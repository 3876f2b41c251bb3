"""What to try next: anchors first, then a strategy's proposals, and finalists to measure again.

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
    """The named strategy for these blocks, before it has learnt from any trial.

    Args:
        name: one of `STRATEGIES`.
        seed: seeds every random draw of the strategy.
        blocks: in graph order.
        priors: what is known before the first trial; None where nothing is.

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
