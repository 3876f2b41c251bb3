"""Uniformly random assignments: the baseline of every other strategy."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import RandomSampler

from autoprec.records import Block
from autoprec.search._base import Priors, Strategy
from autoprec.search.strategies._optuna import OptunaStrategy


def create(seed: int, blocks: Sequence[Block], priors: Priors) -> Strategy:  # noqa: ARG001
    """A strategy that draws each allowed precision of a block with equal probability."""
    return OptunaStrategy(blocks, lambda number: RandomSampler(seed=number), seed)
