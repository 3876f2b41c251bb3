"""What the default strategy proposes, trial by trial: it is the one that `scripts/bench/search` has measured.

Noise of a millionth in what it learns changes none of these proposals, so neither does another processor.
What changes one changes the search: measure it again before the new sequence is written down.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from autoprec.records import Assignment, Block, TrialRecord
from autoprec.search import Priors
from autoprec.search.strategies.autoprec import AutoprecStrategy
from search_records import complete, failed

COUNT = 40
SPEED = {"fp32": 2.0, "fp16": 1.0, "int8": 0.5}
BLOCKS = tuple(Block(name=f"b{n:02d}", nodes=(), allowed=tuple(SPEED), macs=1 + n % 5) for n in range(COUNT))
WEIGHTS = 1 + np.random.default_rng(3).random(COUNT)
DAMAGES = 0.0005 * 1.2 ** np.random.default_rng(7).permutation(COUNT)
ANCHORS = [
    Assignment(choices=tuple((block.name, name) for block in BLOCKS)) for name in ("fp16", "int8", "fp32")
]


def measured(number: int, assignment: Assignment, noise: float) -> TrialRecord:
    """The trial: the fifth block fails in INT8 beside another in FP32, and few blocks fit in FP32."""
    names = [name for _, name in assignment.choices]
    if names[4] == "int8" and "fp32" in names:
        return failed(number, assignment)
    casts = sum(one != other for one, other in pairwise(names))
    ms = sum(weight * SPEED[name] for weight, name in zip(WEIGHTS, names, strict=True)) + 0.1 * casts
    loss = 1 - np.exp(-sum(d for d, name in zip(DAMAGES, names, strict=True) if name == "int8"))
    jitter = 1 + noise * np.random.default_rng(number).standard_normal(2)
    values = float(ms * jitter[0]), float(loss * jitter[1])
    return complete(number, assignment, values, excess_mb=float(names.count("fp32") - 12))


def priors() -> Priors:
    """Sensitivities of other blocks, with gaps, and times that are all too long by as much."""
    damages = {f"b{n:02d}": {"int8": float(DAMAGES[n - 3])} for n in range(COUNT) if n % 3}
    times = {f"b{n:02d}": {k: 1.4 * v for k, v in SPEED.items()} for n in range(COUNT) if n % 4}
    return Priors(
        sensitivity=damages, latency_ms=times, reference_latency_ms=float(WEIGHTS.sum()), accepted_loss=0.05
    )


def proposals(given: Priors, count: int, noise: float = 0.0) -> list[str]:
    """A digit for each block of each proposal behind the anchors, its place in `SPEED`."""
    strategy = AutoprecStrategy(BLOCKS, seed=1, priors=given)
    strategy.learn(measured(number, assignment, noise) for number, assignment in enumerate(ANCHORS))
    told = []
    for number in range(len(ANCHORS), len(ANCHORS) + count):
        (assignment,) = strategy.propose()
        strategy.learn([measured(number, assignment, noise)])
        told.append("".join(str([*SPEED].index(name)) for _, name in assignment.choices))
    return told


SEQUENCES: dict[str, list[str]] = {
    "priors": [
        "1122211122112211122112211112222111112222",
        "1111211111111111111111111111221111111221",
        "2222122222222222222222222221111222222111",
        "2111111111111111111111112111111111111111",
        "2211111121111111111111112111111111111111",
        "2211122222222222221111112111112221111112",
    ],
    "none": [
        "1111111111111111111111111111111111111112",
        "1111111111111111111111111111222221111111",
        "2222222222222222222222222111111111111222",
        "1111111111111111111111111111111111111222",
        "1112222222111222222222222222111112222112",
        "1111111111111111111111122111111111111111",
    ],
}


@pytest.mark.parametrize("given", SEQUENCES)
def test_proposals_are_those_of_the_search_that_was_measured(given: str) -> None:
    assert proposals(priors() if given == "priors" else Priors(), 6) == SEQUENCES[given]


def test_no_proposal_hangs_on_the_last_places_of_what_was_measured() -> None:
    assert proposals(priors(), 2, noise=1e-6) == SEQUENCES["priors"][:2]
