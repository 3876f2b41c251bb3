"""An earlier study of the same model on another engine, to measure the benefit of `--prior STUDY`.

On that engine blocks take other times, and losses differ because it rounds elsewhere.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import msgspec
import numpy as np
from problems import Problem
from trials import Values, complete
from truths import Codes, Floats

from autoprec.search import RoughScore, transferred
from autoprec.search.space import Row, Space

TRIALS, ACCEPTED = 25, 0.01
ROUNDING = 0.2
"""Standard deviation of a loss there around the loss here, in log loss."""
OTHER = 500
"""The other engine's times are those of the instance with a seed larger by this."""


def elsewhere(problem: Problem) -> Problem:
    """The same model on another engine, with priors of that engine's times."""
    rng = np.random.default_rng([problem.seed, OTHER])
    legal = (len(problem.blocks), len(problem.precisions))
    shifts = rng.normal(0.0, ROUNDING / np.sqrt(legal[0]), legal)

    def loss(codes: Codes) -> Floats:
        return np.asarray(problem.loss(codes) * np.exp(shifts[np.arange(legal[0]), codes].sum(axis=1)))

    other, times = copy.copy(problem), Problem(problem.kind, problem.seed + OTHER)
    other.latency, other.loss = times.latency, loss
    other.priors = msgspec.structs.replace(problem.priors, latency_ms=times.priors.latency_ms)
    return other


def left_to(problem: Problem, rows: Sequence[Row], values: Sequence[Values]) -> tuple[RoughScore, ...]:
    """What trials on the other engine say about losses on this one."""
    space = Space(problem.blocks)
    records = [
        complete(number, problem.blocks, space.decode(row), value)
        for number, (row, value) in enumerate(zip(rows, values, strict=True))
    ]
    return transferred(records, problem.blocks, ACCEPTED)
