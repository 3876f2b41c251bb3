"""What an earlier study of the same model on another engine knows: the benefit of `--prior STUDY`.

There, blocks take other times, and losses differ by what each block rounds elsewhere.
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
"""Standard deviation of a loss there, in log loss, around the loss here."""
OTHER = 500
"""The other engine's times are those of the instance this many seeds on."""


def elsewhere(problem: Problem) -> Problem:
    """The same model on another engine; `priors` know its times."""
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
    """What trials of the other engine's study say of this one's losses."""
    space = Space(problem.blocks)
    records = [
        complete(number, problem.blocks, space.decode(row), value)
        for number, (row, value) in enumerate(zip(rows, values, strict=True))
    ]
    return transferred(records, problem.blocks, ACCEPTED)
