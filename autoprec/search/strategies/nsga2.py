"""NSGA-II, Optuna's genetic sampler."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import NSGAIISampler

from autoprec.records import Block
from autoprec.search._base import Priors, Strategy
from autoprec.search.strategies._optuna import OptunaStrategy

POPULATION = 20
"""Optuna's 50 would make the whole of a night one random generation."""


def create(seed: int, blocks: Sequence[Block], priors: Priors) -> Strategy:  # noqa: ARG001
    """NSGA-II with a population that fits budgets of 50 to 200 trials."""
    return OptunaStrategy(blocks, lambda number: NSGAIISampler(seed=number, population_size=POPULATION), seed)
