"""Which assignments keep within limits, such as memory.

Each trial says by how much it exceeded a limit; contributions of blocks are taken to add up.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from autoprec.search.history import History
from autoprec.search.space import Codes, Floats, Space

NOISE = 0.005
"""Standard deviation of a measured excess, in units of the largest."""
SPREAD = 1.0
"""Standard deviation of a block's contribution, relative to that of the mean block."""


class Limits:
    """Probability that an assignment exceeds a limit, by Bayesian linear regression of the excess.

    Excesses are relative to the largest one seen.
    """

    def __init__(self, space: Space, history: History) -> None:
        self._space = space
        # Exactly 0 everywhere: the study sets no limit.
        self._any = bool(np.any(history.excess != 0.0))
        if not self._any:
            return
        features, excess = self._features(history.measured), history.excess / np.abs(history.excess).max()
        blocks, kinds = space.legal.shape
        # Inverse prior variances; a block contributes 1 / blocks of the whole.
        doubt = np.append(np.ones(1 + kinds), np.full(blocks * kinds, (blocks / SPREAD) ** 2))
        self._covariance = np.linalg.inv(features.T @ features / NOISE**2 + np.diag(doubt))
        self._weights = self._covariance @ features.T @ excess / NOISE**2

    def probability(self, codes: Codes) -> Floats:
        """(n,) probability in 0..1 of exceeding a limit; 0 where no limit is set."""
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
