"""What to measure again before a front is delivered.

The best of many noisy timings is partly luck. What users take is the fastest within the loss that they
accept, so it and its rivals are checked first; then the points that seem to gain most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoprec.records import Assignment, TrialRecord, counting
from autoprec.search.fronts import front_mask, hypervolume
from autoprec.search.space import Floats

RIVALS, NEAR_MS, NEAR_LOSS, ENOUGH = 3, 1.03, 1.05, 3
"""So many of the fastest, as long as they are this near the very fastest, and their losses this near what is
accepted, as ratios; and how many measurements of each are enough."""

FIRST, EVERY = 25, 8
"""One finalist for every so many trials beyond the first: up to there, another assignment is worth more than
another measurement."""


def affordable(wanted: int, trials: int) -> int:
    """How many of `wanted` finalists a run of so many trials has room for."""
    return min(wanted, max(0, trials - FIRST) // EVERY)


def pooled(trials: Sequence[TrialRecord]) -> dict[Assignment, tuple[float, float, int]]:
    """Mean latency_ms, mean loss and number of measurements of every assignment measured.

    Failed, running and refined trials do not count, nor those over a limit, nor a measurement that another
    trial reuses, nor any of an assignment that the engine is wrong on.
    """
    fit = (trial for trial in trials if trial.origin != "refined")
    return {t.assignment: (t.latency_ms, t.loss, 1 + len(t.pooled)) for t in counting(fit)}


def finalists(
    trials: Sequence[TrialRecord], count: int, accepted_loss: float = 0.01
) -> tuple[Assignment, ...]:
    """Up to `count` assignments to measure again: the fastest within `accepted_loss` and its rivals, then of
    the front, then of the front behind it, and so on.

    Least measured first, then the fastest of the rivals, and of a front the largest gain in area over the
    neighbours. Ask again after each measurement: what falls off the front makes room for what it hid.
    """
    pool = pooled(trials)
    assignments = list(pool)
    values = np.array([pool[a][:2] for a in assignments], dtype=float).reshape(-1, 2)
    times = np.array([pool[a][2] for a in assignments], dtype=np.intp)
    return tuple(assignments[i] for i in ranked(values, times, accepted_loss)[:count])


def ranked(values: Floats, times: NDArray[np.intp], accepted_loss: float) -> list[int]:
    """`finalists` on arrays: indices of `values` (n, 2), each measured `times` (n,), most urgent first."""
    order = _rivals(values, times, accepted_loss)
    left = np.setdiff1d(np.arange(len(values)), order)
    while len(left):
        mask = front_mask(values[left])
        layer = left[mask]
        order += layer[np.lexsort((-_exclusive(values[layer]), times[layer]))].tolist()
        left = left[~mask]
    return order


def _rivals(values: Floats, times: NDArray[np.intp], accepted_loss: float) -> list[int]:
    """Those that may be the fastest within the accepted loss, and have not been measured often enough."""
    within = np.flatnonzero(values[:, 1] <= NEAR_LOSS * accepted_loss)
    fastest = within[np.argsort(values[within, 0], kind="stable")][:RIVALS]
    near = fastest[values[fastest, 0] <= NEAR_MS * values[fastest[:1], 0]]
    few = near[times[near] < ENOUGH]
    return [int(index) for index in few[np.argsort(times[few], kind="stable")]]


def _exclusive(front: Floats) -> Floats:
    """Area that each point of a front alone dominates; the ends reach a tenth of the range beyond."""
    span = np.maximum(np.ptp(front, axis=0), 1e-9 * np.abs(front).max())
    corner = front.max(axis=0) + 0.1 * span
    scaled, end = front / span, corner / span
    whole = hypervolume(scaled, end)
    return np.array([whole - hypervolume(np.delete(scaled, i, axis=0), end) for i in range(len(front))])
