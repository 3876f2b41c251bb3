"""What every strategy gets and gives: blocks in graph order, a seed, priors; trials in, assignments out.

Owns the `Strategy` protocol and the `Priors` record; leaves computing priors and numbering trials to the
study, and choosing to the strategies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from msgspec import field

from autoprec.records import Assignment, Block, Record, TrialRecord

Table = Mapping[str, Mapping[str, float]]
"""Block name, then precision name, to a figure."""


class Strategy(Protocol):
    """Learns from stored trials, whoever measured them, and proposes what to measure next."""

    def learn(self, records: Iterable[TrialRecord]) -> None:
        """Take in trials that are new or have changed; the last record of a number counts.

        A running trial counts as measured at what is expected of it until its outcome is learnt.
        """

    def propose(self, count: int = 1) -> tuple[Assignment, ...]:
        """Up to `count` different assignments, most useful first, all without an outcome and not running.

        Fewer, or none, where nothing else is left. Nothing is reserved: until what is proposed is learnt as
        running, it may be proposed again.
        """


class RoughScore(Record, frozen=True, kw_only=True):
    """An assignment whose loss was taken roughly, on few samples or by another study.

    `doubt` is the standard deviation of its logarithm around what a trial would measure. On few samples, that
    are the same for all, it is small beside what they have in common.
    """

    assignment: Assignment
    loss: float
    doubt: float = 0.1


class Priors(Record, frozen=True, kw_only=True):
    """What is believed before a trial is measured. Every part may be missing, and none is taken as truth.

    Attributes:
        sensitivity: loss (the second objective's unit) with that block alone in that precision and all
            others in the reference's; the reference's own precision may be left out or 0.
        latency_ms: time of that block in that precision, from the profiles of the anchors.
        reference_latency_ms: the reference's latency, the scale of the first objective; None if unknown.
        scored: rough losses of whole assignments, such as one block back in float and all others quantised,
            which knows the way that a block moves the loss there.
        accepted_loss: the loss up to which users mean to go; the search looks hardest for speed within it.
    """

    sensitivity: Table = field(default_factory=dict)
    latency_ms: Table = field(default_factory=dict)
    reference_latency_ms: float | None = None
    scored: tuple[RoughScore, ...] = ()
    accepted_loss: float = 0.01


Factory = Callable[[int, Sequence[Block], Priors], Strategy]
"""Seed, blocks in graph order, priors, to a strategy for (latency_ms, loss), both minimised."""


def seed_of_night(seed: int, trials: int) -> int:
    """A seed for samplers that start their random numbers afresh when they are created.

    With the same one, a second night would propose the first night's assignments.
    """
    return int(np.random.SeedSequence([seed, trials]).generate_state(1)[0]) if trials else seed
