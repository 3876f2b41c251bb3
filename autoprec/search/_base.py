"""The interface of strategies: created from blocks, a seed and priors, they learn trials and propose
assignments.

Owns the `Strategy` protocol and the `Priors` record. The study computes the priors and numbers the trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from msgspec import field

from autoprec.records import Assignment, Block, Record, TrialRecord

Table = Mapping[str, Mapping[str, float]]
"""A figure for each block name and precision name, in that order."""


class Strategy(Protocol):
    """Learns from stored trials, whoever measured them, and proposes what to measure next."""

    def learn(self, records: Iterable[TrialRecord]) -> None:
        """Take in trials that are new or have changed; the last record of a number counts.

        Until its outcome is learnt, a running trial counts as measured, with the figures predicted for it.
        """

    def propose(self, count: int = 1) -> tuple[Assignment, ...]:
        """Up to `count` different assignments, most useful first, all without an outcome and not running.

        Fewer, or none, once the space is exhausted. Nothing is reserved: an assignment may be proposed again
        until it has been learnt as running.
        """


class RoughScore(Record, frozen=True, kw_only=True):
    """An assignment whose loss is known only roughly, from few samples or from another study.

    `doubt` is the standard deviation of the log loss around what a trial would measure. On few samples, the
    same ones for all scores, most of the error is common to all and cancels between them; `doubt` is the
    rest.
    """

    assignment: Assignment
    loss: float
    doubt: float = 0.1


class Priors(Record, frozen=True, kw_only=True):
    """What is believed before a trial is measured. Every part may be missing, and none is taken as truth.

    Attributes:
        sensitivity: loss (the second objective's unit) with that block alone in that precision and all
            others in the reference's precision; figures of the reference's own precision may be 0 or missing.
        latency_ms: time of that block in that precision, from the profiles of the anchors.
        reference_latency_ms: the reference's latency, the scale of the first objective; None if unknown.
        scored: rough losses of whole assignments, such as one block back in float with all others quantised,
            which shows what a block contributes to the loss where the others are damaged too.
        accepted_loss: the largest loss that the user accepts; the search looks hardest for speed within it.
    """

    sensitivity: Table = field(default_factory=dict)
    latency_ms: Table = field(default_factory=dict)
    reference_latency_ms: float | None = None
    scored: tuple[RoughScore, ...] = ()
    accepted_loss: float = 0.01


Factory = Callable[[int, Sequence[Block], Priors], Strategy]
"""Creates a strategy from a seed, blocks in graph order and priors; it minimises (latency_ms, loss)."""


def seed_of_night(seed: int, trials: int) -> int:
    """A seed for samplers whose random numbers start afresh each time they are created.

    With the study's own seed, a resumed search would propose the assignments of its first run again.
    """
    return int(np.random.SeedSequence([seed, trials]).generate_state(1)[0]) if trials else seed
