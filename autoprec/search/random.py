"""Uniform random assignments: what every other strategy has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import BaseSampler, RandomSampler

from autoprec.records import Block
from autoprec.search._base import Priors, seed_of_night


def create(seed: int, trials: int, blocks: Sequence[Block], priors: Priors) -> BaseSampler:  # noqa: ARG001
    """Every allowed precision of every block equally likely."""
    return RandomSampler(seed=seed_of_night(seed, trials))
