"""What every strategy gets: the blocks in graph order, a seed, and priors.

Owns the `Priors` record; leaves computing priors to the study, and sampling to the strategies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import field
from optuna.samplers import BaseSampler

from autoprec.records import Block, Record

Table = Mapping[str, Mapping[str, float]]
"""Block name, then precision name, to a figure."""


class Priors(Record, frozen=True, kw_only=True):
    """What is believed before a trial is measured. Every part may be missing, and none is taken as truth.

    Attributes:
        sensitivity: loss (the second objective's unit) with that block alone in that precision and all
            others in the reference's; the reference's own precision may be left out or 0.
        latency_ms: time of that block in that precision, from the profiles of the anchors.
        reference_latency_ms: the reference's latency, the scale of the first objective; None if unknown.
        accepted_loss: the loss up to which users mean to go; the search looks hardest for speed within it.
    """

    sensitivity: Table = field(default_factory=dict)
    latency_ms: Table = field(default_factory=dict)
    reference_latency_ms: float | None = None
    accepted_loss: float = 0.01


Factory = Callable[[int, int, Sequence[Block], Priors], BaseSampler]
"""Seed, trials that the study already holds, blocks in graph order, priors, to a sampler of
(latency_ms, loss), both minimised."""


def seed_of_night(seed: int, trials: int) -> int:
    """A seed for samplers that begin their random numbers anew when they are made.

    With the same one, a second night would propose the first night's assignments.
    """
    return int(np.random.SeedSequence([seed, trials]).generate_state(1)[0]) if trials else seed
