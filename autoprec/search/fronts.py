"""Fronts in two minimised objectives: which points are on one, its area, and what another point would add.

Pure functions of arrays; `finalists.py` chooses what is measured again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.search.space import Floats


def front_mask(values: Floats) -> NDArray[np.bool_]:
    """(n,) which rows of `values` (n, 2) no other row dominates; of equal rows, only the first."""
    # In order of the first objective, a row is dominated if and only if an earlier row is as good in the
    # second: n log n steps, where comparing all pairs takes n².
    order = np.lexsort((values[:, 1], values[:, 0]))
    best = np.minimum.accumulate(np.concatenate(([np.inf], values[order, 1])))[:-1]
    mask = np.zeros(len(values), dtype=bool)
    mask[order[values[order, 1] < best]] = True
    return mask


def front_of(values: Floats) -> Floats:
    """The rows on the front (k, 2), in ascending order of the first objective."""
    front = values[front_mask(values)]
    return front[np.argsort(front[:, 0])]


def hypervolume(values: Floats, corner: Floats) -> float:
    """Area that `values` (n, 2) dominate up to `corner` (2,), the reference point; 0 if none is below it."""
    inside = values[(values < corner).all(axis=1)]
    if not len(inside):
        return 0.0
    front = front_of(inside)
    widths = np.diff(np.append(front[:, 0], corner[0]))
    return float(widths @ (corner[1] - front[:, 1]))


def improvement(points: Floats, front: Floats, corner: Floats) -> Floats:
    """(...,) area that each of `points` (..., 2) would add to `front` (k, 2), sorted as by `front_of`."""
    inside = front[(front < corner).all(axis=1)]
    # The front divides the plane into columns, each free below the front's height there; a point adds what
    # it covers of that free part, column by column.
    edges = np.concatenate(([-np.inf], inside[:, 0], [corner[0]]))
    heights = np.concatenate(([corner[1]], inside[:, 1]))
    widths = np.clip(edges[1:] - np.maximum(edges[:-1], points[..., :1]), 0.0, None)
    areas: Floats = widths * np.clip(heights - points[..., 1:], 0.0, None)
    return np.asarray(areas.sum(axis=-1))
