"""Which assignments keep within the limits that a trial may not break, such as memory.

Optuna's constraints say by how much each trial broke a limit; blocks are taken to add up.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from autoprec.search.history import History
from autoprec.search.space import Codes, Floats, Space

NOISE = 0.005
"""Standard deviation of a measured excess."""
SPREAD = 1.0
"""Standard deviation of what a block adds, over the mean block."""


class Limits:
    """Probability that an assignment breaks a limit: Bayesian linear regression of the excess.

    Units are those of the largest excess seen.
    """

    def __init__(self, space: Space, history: History) -> None:
        self._space = space
        self._any = bool(np.any(history.excess != 0.0))
        if not self._any:
            return
        features, excess = self._features(history.measured), history.excess / np.abs(history.excess).max()
        blocks, kinds = space.legal.shape
        doubt = np.append(np.ones(1 + kinds), np.full(blocks * kinds, (blocks / SPREAD) ** 2))
        self._covariance = np.linalg.inv(features.T @ features / NOISE**2 + np.diag(doubt))
        self._weights = self._covariance @ features.T @ excess / NOISE**2

    def probability(self, codes: Codes) -> Floats:
        """(n,) in 0..1 that a limit is broken; 0 where no trial has any."""
        if not self._any:
            return np.zeros(len(codes))
        features = self._features(codes)
        variance = NOISE**2 + np.einsum("nf,fg,ng->n", features, self._covariance, features)
        broken: Floats = ndtr(features @ self._weights / np.sqrt(variance))
        return broken

    def _features(self, codes: Codes) -> Floats:
        """(n, 1 + precisions + blocks * precisions): a constant, shares of the precisions, one-hots."""
        hot = self._space.one_hot(codes)
        shares = hot.reshape(len(codes), *self._space.legal.shape).mean(axis=1)
        return np.concatenate((np.ones((len(codes), 1)), shares, hot), axis=1)
