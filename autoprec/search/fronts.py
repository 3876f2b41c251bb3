"""Fronts in two minimised objectives: who is on it, the area behind it, and what a point would add.

Pure functions of arrays; who measures again and who is stopped early is in `finalists.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.search.space import Floats


def front_mask(values: Floats) -> NDArray[np.bool_]:
    """Which rows of `values` (n, 2) no other row dominates; of equal rows the first one counts."""
    order = np.lexsort((values[:, 1], values[:, 0]))
    best = np.minimum.accumulate(np.concatenate(([np.inf], values[order, 1])))[:-1]
    mask = np.zeros(len(values), dtype=bool)
    mask[order[values[order, 1] < best]] = True
    return mask


def front_of(values: Floats) -> Floats:
    """The rows on the front, by rising first objective."""
    front = values[front_mask(values)]
    return front[np.argsort(front[:, 0])]


def hypervolume(values: Floats, corner: Floats) -> float:
    """Area that `values` (n, 2) dominate within `corner` (2,), the worst values that still count."""
    inside = values[(values < corner).all(axis=1)]
    if not len(inside):
        return 0.0
    front = front_of(inside)
    widths = np.diff(np.append(front[:, 0], corner[0]))
    return float(widths @ (corner[1] - front[:, 1]))


def improvement(points: Floats, front: Floats, corner: Floats) -> Floats:
    """Area that each of `points` (..., 2) would add to `front` (k, 2), which `front_of` has sorted."""
    inside = front[(front < corner).all(axis=1)]
    edges = np.concatenate(([-np.inf], inside[:, 0], [corner[0]]))
    heights = np.concatenate(([corner[1]], inside[:, 1]))
    widths = np.clip(edges[1:] - np.maximum(edges[:-1], points[..., :1]), 0.0, None)
    areas: Floats = widths * np.clip(heights - points[..., 1:], 0.0, None)
    return np.asarray(areas.sum(axis=-1))
