"""Scores of a trace by number of evaluations.

A strategy delivers the front of what it measured, and is judged by the truth of that front: a point that is
there by a lucky timing costs. Hypervolume is relative to the best front known; gain is hypervolume with the
anchors at 0 and the best front at 1; share is the part of the speed-up that is possible at a loss of
0.01; `searched` is the hypervolume of everything tried, had the truth been known; `near` is the part of the
trials after the anchors within four times that loss; `behind` is by how much the best anchor within that loss
is faster than what is delivered, in units of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from problems import Problem
from strategies import Trace
from truths import Floats

from autoprec.search.finalists import affordable, ranked
from autoprec.search.fronts import front_mask, hypervolume
from autoprec.search.space import Row

CHECKPOINTS = (10, 15, 25, 50, 100, 200)
LOSS_LIMIT = 0.01
NEAR = 4.0
WORTH = 0.02
"""Problems whose possible speed-up at the limit is less than this have no share, which would be mostly
noise."""
FINALISTS = 3
"""How many of the last evaluations measure again, as in a study by default; fewer in short ones."""


@dataclass(frozen=True)
class Best:
    """The best front known of a problem: its values (n, 2), and the anchors' hypervolume."""

    problem: Problem
    front: Floats

    def score(self, delivered: Floats) -> tuple[float, float, float]:
        """Hypervolume, gain and share (NaN where there is none) of true values (n, 2)."""
        corner = self.problem.corner
        whole = hypervolume(self.front, corner)
        anchors = hypervolume(self.problem.truth(self.problem.anchors), corner)
        reached = hypervolume(delivered, corner)
        possible = _speed_up(self.front)
        share = _speed_up(delivered) / possible if possible > WORTH else float("nan")
        return reached / whole, (reached - anchors) / (whole - anchors), share


def scored(best: Best, trace: Trace, seed: int, *, finalists: bool) -> dict[str, list[float]]:
    """Figures at every checkpoint; a strategy that ended early keeps what it had.

    Args:
        best: what is known to be best, with the problem.
        trace: a run's rows, measured values and seconds.
        seed: of the repeated measurements of finalists.
        finalists: spend the last evaluations on measuring the best rows again.

    Returns:
        By name of a figure, its value at each checkpoint.
    """
    rows, values, seconds = trace
    truth = best.problem.truth(np.array(rows, dtype=np.intp))
    anchors = _speed_up(best.problem.truth(best.problem.anchors))
    table: dict[str, list[float]] = {
        "evaluations": [],
        "hypervolume": [],
        "gain": [],
        "share": [],
        "searched": [],
        "near": [],
        "behind": [],
    }
    for count in CHECKPOINTS:
        last = affordable(FINALISTS, count) if finalists else 0
        searched = count - last
        measured = np.array(values[:searched])
        if finalists:
            measured = _again(best.problem, rows[:searched], measured, last, seed)
        delivered = truth[:searched][front_mask(measured)]
        figures = best.score(delivered)
        behind = anchors - _speed_up(delivered)
        everything = best.score(truth[:searched])[0]
        tried = truth[len(best.problem.anchors) : searched, 1]
        near = np.mean(tried <= NEAR * LOSS_LIMIT) if len(tried) else np.nan
        for name, figure in zip(table, (count, *figures, everything, near, behind), strict=True):
            table[name].append(round(float(figure), 5))
    return {**table, "seconds": np.round((np.mean(seconds), np.percentile(seconds, 99)), 5).tolist()}


def _again(problem: Problem, rows: Sequence[Row], values: Floats, count: int, seed: int) -> Floats:
    """Values (n, 2) with `count` more measurements averaged in, each of the most urgent row at the time."""
    means, times = values.copy(), np.ones(len(rows), dtype=np.intp)
    for _ in range(count):
        index = ranked(means, times, LOSS_LIMIT)[0]
        fresh = np.array(problem.measure(rows[index], seed + 1000 * int(times[index])))
        means[index] += (fresh - means[index]) / (times[index] + 1)
        times[index] += 1
    return means


def _speed_up(values: Floats) -> float:
    """Largest speed-up over the reference within the loss limit; never negative."""
    allowed = values[values[:, 1] <= LOSS_LIMIT, 0]
    return max(0.0, 1.0 - float(allowed.min())) if len(allowed) else 0.0
