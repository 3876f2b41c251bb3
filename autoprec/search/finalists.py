"""What to measure again before a front is delivered.

The best of many noisy timings is partly luck; the points that seem to gain most are the ones to check.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoprec.records import Assignment, TrialRecord, counting
from autoprec.search.fronts import front_mask, hypervolume
from autoprec.search.space import Floats


def pooled(trials: Sequence[TrialRecord]) -> dict[Assignment, tuple[float, float, int]]:
    """Mean latency_ms, mean loss and number of measurements of every assignment measured.

    Failed, running and refined trials do not count, nor those over a limit, nor a measurement that another
    trial reuses, nor any of an assignment that the engine is wrong on.
    """
    fit = (trial for trial in trials if trial.origin != "refined")
    return {t.assignment: (t.latency_ms, t.loss, 1 + len(t.pooled)) for t in counting(fit)}


def finalists(trials: Sequence[TrialRecord], count: int) -> tuple[Assignment, ...]:
    """Up to `count` assignments to measure again: of the front, then of the front behind it, and so on.

    Least measured first, then the largest gain in area over the neighbours on its front. Ask again
    after each measurement: what falls off the front makes room for what it hid.
    """
    pool = pooled(trials)
    assignments = list(pool)
    values = np.array([pool[a][:2] for a in assignments], dtype=float).reshape(-1, 2)
    times = np.array([pool[a][2] for a in assignments], dtype=np.intp)
    return tuple(assignments[i] for i in ranked(values, times)[:count])


def ranked(values: Floats, times: NDArray[np.intp]) -> list[int]:
    """`finalists` on arrays: indices of `values` (n, 2), each measured `times` (n,), most urgent first."""
    order: list[int] = []
    left = np.arange(len(values))
    while len(left):
        mask = front_mask(values[left])
        layer = left[mask]
        order += layer[np.lexsort((-_exclusive(values[layer]), times[layer]))].tolist()
        left = left[~mask]
    return order


def _exclusive(front: Floats) -> Floats:
    """Area that each point of a front alone dominates; the ends reach a tenth of the range beyond."""
    span = np.maximum(np.ptp(front, axis=0), 1e-9 * np.abs(front).max())
    corner = front.max(axis=0) + 0.1 * span
    scaled, end = front / span, corner / span
    whole = hypervolume(scaled, end)
    return np.array([whole - hypervolume(np.delete(scaled, i, axis=0), end) for i in range(len(front))])
