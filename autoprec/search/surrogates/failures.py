"""Which precisions, of all blocks or of some, or of pairs of neighbours, make builds fail.

A failure has a cause among the settings that no measured trial contains: anything that was once measured
is cleared. Blame is shared among what is left, more to settings that several failures have in common,
more to precisions and single blocks than to pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.search.history import History
from autoprec.search.space import Codes, Floats, Space

PAIR_WEIGHT = 0.1
"""How likely a pair of neighbours is to be the cause, relative to one block."""


class Failures:
    """Probability that an assignment fails, from a study's history."""

    def __init__(self, space: Space, history: History) -> None:
        self._space = space
        failed = self._settings(history.failed)
        cleared = self._settings(history.measured).any(axis=0)
        suspects = failed & ~cleared
        single = len(space.precisions) * (1 + len(space.names))
        weight = np.where(np.arange(suspects.shape[1]) < single, 1.0, PAIR_WEIGHT)
        weight = suspects * weight * np.square(suspects.sum(axis=0))
        total = weight.sum(axis=1, keepdims=True)
        blame = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        self._blame = 1.0 - np.prod(1.0 - blame, axis=0)

    def probability(self, codes: Codes) -> Floats:
        """(n,) in 0..1; 0 where every setting has been measured before, or nothing has failed."""
        settings = self._settings(codes)
        spared: Floats = settings @ np.log1p(-np.minimum(self._blame, 0.999))
        return -np.expm1(spared)

    def _settings(self, codes: Codes) -> NDArray[np.bool_]:
        """(n, settings) bool: the precisions that an assignment uses, where, and next to which."""
        kinds = len(self._space.precisions)
        first, second = codes[:, self._space.edges[:, 0]], codes[:, self._space.edges[:, 1]]
        pairs = (first * kinds + second)[:, :, None] == np.arange(kinds**2)
        hot = self._space.one_hot(codes).astype(bool)
        used = hot.reshape(len(codes), len(self._space.names), kinds).any(axis=1)
        return np.concatenate(
            (used, hot, pairs.reshape(len(codes), len(self._space.edges) * kinds**2)), axis=1
        )
