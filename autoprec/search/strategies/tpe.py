"""Multi-objective TPE, Optuna's own default."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import TPESampler

from autoprec.records import Block
from autoprec.search._base import Priors, Strategy
from autoprec.search.strategies._optuna import OptunaStrategy


def create(seed: int, blocks: Sequence[Block], priors: Priors) -> Strategy:  # noqa: ARG001
    """TPE as Optuna 5 sets it up: 10 trials to start, one density per block, running trials penalised.

    Its multivariate form is off for several objectives, as Optuna's default has it.
    """
    return OptunaStrategy(blocks, lambda number: TPESampler(seed=number), seed)
