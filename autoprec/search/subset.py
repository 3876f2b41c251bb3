"""Which measured trials the surrogates are fitted to, where there are too many to fit them all.

A fit costs the cube of its trials, and what decides about the next proposal is near the front.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.search.fronts import front_mask
from autoprec.search.history import History

MOST = 256
"""Most trials that are fitted; up to this number, all of them are."""
OF_FRONTS, OF_ACCEPTED = 0.5, 0.25
"""Parts of them: the front and those behind it, one after the other; those nearest to the accepted loss. The
rest is drawn at random, so that surrogates stay right where nobody looks."""
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
    """Enough trials within all limits: the front, then the front behind it, and so on."""
    left, layers, taken = np.flatnonzero(history.feasible), [np.empty(0, dtype=np.intp)], 0
    while len(left) and taken < most:
        mask = front_mask(history.values[left])
        layers.append(left[mask])
        taken += int(mask.sum())
        left = left[~mask]
    return np.concatenate(layers)


def _nearest(history: History, accepted_loss: float) -> NDArray[np.intp]:
    """All trials, the nearest to the accepted loss first, by ratio."""
    losses = np.maximum(history.values[:, 1], 1e-3 * accepted_loss)
    nearest: NDArray[np.intp] = np.argsort(np.abs(np.log(losses / accepted_loss)), kind="stable")
    return nearest
