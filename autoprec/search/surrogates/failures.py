"""Which precisions make builds fail: anywhere, in certain blocks, or between neighbours.

A failure is caused by one of its settings that no measured trial contains: whatever was measured once is
cleared. The remaining settings share the blame, those common to several failures more than others, and
precisions and single blocks more than pairs.
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
        # Squared, so that what several failures have in common outweighs the many settings of each alone.
        weight = suspects * weight * np.square(suspects.sum(axis=0))
        total = weight.sum(axis=1, keepdims=True)
        blame = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        self._blame = 1.0 - np.prod(1.0 - blame, axis=0)

    def probability(self, codes: Codes) -> Floats:
        """(n,) in 0..1; 0 where all settings were measured before, or nothing has failed."""
        settings = self._settings(codes)
        # Blame of 1 has a logarithm of -inf, and 0 * -inf makes NaN of rows without that setting.
        spared: Floats = settings @ np.log1p(-np.minimum(self._blame, 0.999))
        return -np.expm1(spared)

    def _settings(self, codes: Codes) -> NDArray[np.bool_]:
        """(n, settings) the precisions that an assignment uses, in which block, and next to which."""
        kinds = len(self._space.precisions)
        first, second = codes[:, self._space.edges[:, 0]], codes[:, self._space.edges[:, 1]]
        pairs = (first * kinds + second)[:, :, None] == np.arange(kinds**2)
        hot = self._space.one_hot(codes).astype(bool)
        used = hot.reshape(len(codes), len(self._space.names), kinds).any(axis=1)
        return np.concatenate(
            (used, hot, pairs.reshape(len(codes), len(self._space.edges) * kinds**2)), axis=1
        )
