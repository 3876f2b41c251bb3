"""NSGA-II, Optuna's genetic sampler."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import BaseSampler, NSGAIISampler

from autoprec.records import Block
from autoprec.search._base import Priors, seed_of_night

POPULATION = 20
"""Optuna's 50 would make the whole of a night one random generation."""


def create(seed: int, trials: int, blocks: Sequence[Block], priors: Priors) -> BaseSampler:  # noqa: ARG001
    """NSGA-II with a population that fits budgets of 50 to 200 trials. It proposes duplicates."""
    return NSGAIISampler(seed=seed_of_night(seed, trials), population_size=POPULATION)
