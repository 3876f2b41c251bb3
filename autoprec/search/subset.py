"""Which trials the surrogates are fitted to once there are too many to fit them all.

The cost of a fit grows with the cube of its trials, and the next proposal depends on those near the front.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.search.fronts import front_mask
from autoprec.search.history import History

MOST = 256
"""Most trials that are fitted; up to this number, all of them are."""
OF_FRONTS, OF_ACCEPTED = 0.5, 0.25
"""Fractions of them: fronts, from the first inwards; trials nearest to the accepted loss. The rest is drawn
at random, so that the surrogates stay accurate far from both."""
DRAWN_ANEW = 64
"""After this many trials another rest is drawn."""


def subset(history: History, accepted_loss: float, most: int = MOST) -> NDArray[np.intp]:
    """Ascending indices into `history.measured` of at most `most` trials."""
    count = len(history.measured)
    if count <= most:
        return np.arange(count)
    rest = np.random.default_rng(count // DRAWN_ANEW).permutation(count)
    kept = np.empty(0, dtype=np.intp)
    for ranked, part in (
        (_by_fronts(history, most), OF_FRONTS),
        (_nearest(history, accepted_loss), OF_ACCEPTED),
        (rest, 1.0),
    ):
        fresh = ranked[~np.isin(ranked, kept)]
        kept = np.concatenate((kept, fresh[: min(int(part * most), most - len(kept))]))
    return np.sort(kept)


def _by_fronts(history: History, most: int) -> NDArray[np.intp]:
    """Indices of the trials within all limits, front after front, until there are at least `most`."""
    left, layers, taken = np.flatnonzero(history.feasible), [np.empty(0, dtype=np.intp)], 0
    while len(left) and taken < most:
        mask = front_mask(history.values[left])
        layers.append(left[mask])
        taken += int(mask.sum())
        left = left[~mask]
    return np.concatenate(layers)


def _nearest(history: History, accepted_loss: float) -> NDArray[np.intp]:
    """Indices of all trials, those nearest to the accepted loss first, by ratio."""
    # Losses of 0 have no logarithm, and below a thousandth of the accepted loss all are alike.
    losses = np.maximum(history.values[:, 1], 1e-3 * accepted_loss)
    nearest: NDArray[np.intp] = np.argsort(np.abs(np.log(losses / accepted_loss)), kind="stable")
    return nearest
