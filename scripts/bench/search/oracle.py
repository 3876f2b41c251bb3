"""The best front known of a problem: a long local search on the truth itself, which no strategy sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from problems import Problem

from autoprec.search.fronts import front_mask
from autoprec.search.pool import mutants
from autoprec.search.space import Space


def best_front(problem: Problem, seed: int, limit: int) -> NDArray[np.intp]:
    """Rows of the best front found by a long local search on the truth itself, within `limit` evaluations."""
    rng = np.random.default_rng(seed)
    space = Space(problem.blocks)
    pool = np.concatenate((problem.anchors, space.draw(rng, 3000)))
    values = problem.truth(pool)
    spent, quiet = len(pool), 0
    while spent < limit and quiet < 12:
        keep = front_mask(values)
        pool, values = pool[keep], values[keep]
        children = np.concatenate((_flips(space, pool), mutants(space, pool, rng, 4000)))
        fresh = problem.truth(children)
        spent += len(children)
        both = np.concatenate((values, fresh))
        better = front_mask(both)[len(values) :].any()
        quiet = 0 if better else quiet + 1
        pool, values = np.concatenate((pool, children)), both
    return pool[front_mask(values)]


def _flips(space: Space, pool: NDArray[np.intp]) -> NDArray[np.intp]:
    """All rows that differ from one in `pool` in a single block."""
    count, kinds = space.legal.shape
    children = np.repeat(pool, count * kinds, axis=0)
    place = np.tile(np.repeat(np.arange(count), kinds), len(pool))
    children[np.arange(len(children)), place] = np.tile(np.arange(kinds), count * len(pool))
    return children
