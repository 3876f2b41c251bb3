"""Multi-objective TPE, Optuna's own default."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import BaseSampler, TPESampler

from autoprec.records import Block
from autoprec.search._base import Priors, seed_of_night


def create(seed: int, trials: int, blocks: Sequence[Block], priors: Priors) -> BaseSampler:  # noqa: ARG001
    """TPE as Optuna 5 sets it up: 10 trials to start, one density per block, running trials penalised.

    Its multivariate form is off for several objectives, as Optuna's default has it.
    """
    return TPESampler(seed=seed_of_night(seed, trials))
