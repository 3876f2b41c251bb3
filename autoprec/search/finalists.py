"""What to measure again before a front is delivered.

The best of many noisy timings is partly luck. Users take the fastest assignment within the loss that they
accept, so it and its rivals are measured again first; then the points that seem to gain most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoprec.records import Assignment, TrialRecord, counting
from autoprec.search.fronts import front_mask, hypervolume
from autoprec.search.space import Floats

RIVALS, NEAR_MS, NEAR_LOSS, ENOUGH = 3, 1.03, 1.05, 3
"""How many of the fastest count as rivals; within which ratio of the fastest latency and of the accepted
loss; and how many measurements of each are enough."""

FIRST, EVERY = 25, 8
"""A run has room for one finalist per `EVERY` trials beyond the `FIRST`: in a shorter one, another assignment
is worth more than another measurement."""


def affordable(wanted: int, trials: int) -> int:
    """How many of the `wanted` finalists a run of `trials` trials has room for."""
    return min(wanted, max(0, trials - FIRST) // EVERY)


class Pooled(NamedTuple):
    """An assignment's mean latency in ms and mean loss, and how many times it was measured."""

    latency_ms: float
    loss: float
    times: int


def pooled(trials: Sequence[TrialRecord]) -> dict[Assignment, Pooled]:
    """Each measured assignment, with the means of its measurements.

    Left out: failed, running and refined trials, trials over a limit, reused measurements, and every trial of
    an assignment that the engine computes wrongly.
    """
    # Refined trials measure fine-tuned weights, so their figures say nothing of the assignment itself.
    fit = (trial for trial in trials if trial.origin != "refined")
    return {t.assignment: Pooled(t.latency_ms, t.loss, 1 + len(t.pooled)) for t in counting(fit)}


def finalists(
    trials: Sequence[TrialRecord], count: int, accepted_loss: float = 0.01
) -> tuple[Assignment, ...]:
    """Up to `count` assignments to measure again: the fastest within `accepted_loss` and its rivals, then of
    the front, then of the front behind it, and so on.

    The least measured come first; ties go to the fastest among rivals, and on a front to the point that adds
    most area. Ask again after each measurement: a point that falls off the front uncovers those behind it.
    """
    pool = pooled(trials)
    assignments, figures = list(pool), list(pool.values())
    values = np.array([(one.latency_ms, one.loss) for one in figures], dtype=float).reshape(-1, 2)
    times = np.array([one.times for one in figures], dtype=np.intp)
    return tuple(assignments[i] for i in ranked(values, times, accepted_loss)[:count])


def ranked(values: Floats, times: NDArray[np.intp], accepted_loss: float) -> list[int]:
    """`finalists` on arrays: indices into `values` (n, 2), measured `times` (n,) times, most urgent first."""
    order = _rivals(values, times, accepted_loss)
    left = np.setdiff1d(np.arange(len(values)), order)
    while len(left):
        mask = front_mask(values[left])
        layer = left[mask]
        order += layer[np.lexsort((-_exclusive(values[layer]), times[layer]))].tolist()
        left = left[~mask]
    return order


def _rivals(values: Floats, times: NDArray[np.intp], accepted_loss: float) -> list[int]:
    """Indices of rivals for the fastest within the accepted loss that were measured too few times."""
    # Losses are estimates as well: one slightly above the accepted loss may fall below it when measured
    # again.
    within = np.flatnonzero(values[:, 1] <= NEAR_LOSS * accepted_loss)
    fastest = within[np.argsort(values[within, 0], kind="stable")][:RIVALS]
    near = fastest[values[fastest, 0] <= NEAR_MS * values[fastest[:1], 0]]
    few = near[times[near] < ENOUGH]
    return [int(index) for index in few[np.argsort(times[few], kind="stable")]]


def _exclusive(front: Floats) -> Floats:
    """(k,) area that each point of a front (k, 2) alone dominates, within a range extended by a tenth."""
    # A front of one point has no range; a tiny one keeps the division finite.
    span = np.maximum(np.ptp(front, axis=0), 1e-9 * np.abs(front).max())
    corner = front.max(axis=0) + 0.1 * span
    scaled, end = front / span, corner / span
    whole = hypervolume(scaled, end)
    return np.array([whole - hypervolume(np.delete(scaled, i, axis=0), end) for i in range(len(front))])
