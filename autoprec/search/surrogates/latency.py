"""A model of the latency of assignments: times of blocks add up, type changes cost, the rest is residual.

Hypotheses differ in how far they trust the profiles of the anchors. All times are in units of the reference's
latency.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import block_diag

from autoprec.search.space import Codes, Floats, Space
from autoprec.search.surrogates.gaussian import Data, Linear, Mixture
from autoprec.search.surrogates.profiles import shrunk

TRUST = (0.1, 0.4, None)
"""Standard deviation of a block's log time around its profile; None is a hypothesis that ignores profiles."""
WORK, RATIO = 0.7, 0.4
"""Standard deviations of a block's time where profiles are ignored, in mean block times: common to all its
precisions, and of one precision. Blocks differ in their work more than in what a precision saves. Over
independent times, it raised the mean hypervolume after 50 trials from 0.988 to 0.991, and the share of the
possible speed-up from 0.82 to 0.90, on 20 tabular problems whose profiles mislead."""
SMALLEST = 0.02
"""The least time taken from a profile, as a fraction of the block's share of the work: profiles say 0 of
blocks that were fused away."""
SPREADS, NOISES = (0.01, 0.05), (0.004, 0.02)
"""Standard deviations of the residual and of a timing; every pair is a hypothesis."""
CAST = 0.2
"""Expected cost of one type change, in mean block times. With 0 the first trials would be full of changes
that look free: on tabular problems it raised the hypervolume after 10 trials from 0.965 to 0.972."""
CAST_COMMON, CAST_PAIR, CAST_EDGE = 0.1, 0.1, 0.1
"""Its standard deviations, in mean block times: common to all changes, of a pair of types, of an edge."""


class LatencyModel:
    """Linear regression over (block, precision), type pairs at borders, and single borders.

    Features in this order: (block, precision) one-hots, counts of ordered type pairs, type changes of
    each edge.
    """

    def __init__(self, space: Space, profile: Floats) -> None:
        self._space = space
        self._profile = profile
        """(blocks, precisions), in units of the reference; NaN where unknown."""
        kinds = len(space.precisions)
        self._size = len(space.names) * kinds + kinds**2 + len(space.edges)

    def fit(self, codes: Codes, ratios: Floats) -> Mixture:
        """Fit to ratios (n,) of measured latencies of codes (n, blocks) to the reference's."""
        data = Data.of(self._space, codes, ratios)
        members, kinds = [], len(self._space.precisions)
        for trust in TRUST if np.isfinite(self._profile).any() else (None,):
            means, errors = self._beliefs(trust, ratios)
            start = np.zeros(self._size)
            start[: means.size] = means.ravel()
            # The mean block takes 1 / blocks of the reference's latency.
            start[means.size : means.size + kinds**2] = CAST / len(self._space.names)
            linear, covariance = self._linear(start), self._covariance(errors)
            members += data.condition(linear, start, covariance, spreads=SPREADS, noises=NOISES)
        return Mixture.of(members)

    def costs(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weights (p,) as times (blocks, precisions) and borders (edges, precisions, precisions)."""
        blocks, kinds = self._space.legal.shape
        split = blocks * kinds
        pairs = weights[split : split + kinds**2].reshape(kinds, kinds) * self._space.casts
        local = weights[split + kinds**2 :, None, None] * self._space.casts
        return weights[:split].reshape(blocks, kinds), pairs + local

    def _beliefs(self, trust: float | None, ratios: Floats) -> tuple[Floats, Floats]:
        """Means of block times (blocks, precisions), and covariances (blocks, precisions, precisions)."""
        even = np.broadcast_to(self._space.share[:, None] * np.median(ratios), self._profile.shape)
        if trust is None:
            own = WORK**2 + RATIO**2 * np.eye(even.shape[1])
            return even, np.square(even)[:, :, None] * own
        is_measured = np.isfinite(self._profile)
        logs = np.log(np.where(is_measured, np.maximum(self._profile, SMALLEST * even), even))
        beliefs = shrunk(logs, is_measured, trust)
        means = np.exp(beliefs.means)
        # Errors of log times become errors of times; a block that seems free keeps some doubt of its own.
        scale = means + 0.1 * even
        return means, beliefs.errors * scale[:, :, None] * scale[:, None]

    def _linear(self, start: Floats) -> Linear:
        def linear(codes: Codes) -> tuple[Floats, Floats]:
            features = np.concatenate((self._space.one_hot(codes), *self._borders(codes)), axis=1)
            return features @ start, features

        return linear

    def _borders(self, codes: Codes) -> tuple[Floats, Floats]:
        kinds = len(self._space.precisions)
        crossed = self._space.crossings(codes).astype(float)
        first, second = codes[:, self._space.edges[:, 0]], codes[:, self._space.edges[:, 1]]
        pairs = (first * kinds + second)[:, :, None] == np.arange(kinds**2)
        return (pairs * crossed[:, :, None]).sum(axis=1), crossed

    def _covariance(self, errors: Floats) -> Floats:
        """(p, p) prior covariance of all weights."""
        blocks, kinds, _ = errors.shape
        edges = len(self._space.edges)
        covariance = np.zeros((self._size, self._size))
        sds = np.sqrt(np.diagonal(errors, axis1=1, axis2=2)).ravel()
        # Profiling slows all kernels, so the errors of a precision are partly common to all blocks.
        common = np.outer(sds, sds) * np.tile(np.eye(kinds), (blocks, blocks))
        covariance[: blocks * kinds, : blocks * kinds] = 0.3 * common + block_diag(*errors)
        rest = np.concatenate((np.full(kinds**2, CAST_PAIR), np.full(edges, CAST_EDGE))) / blocks
        covariance[blocks * kinds :, blocks * kinds :] = np.diag(np.square(rest))
        pairs = slice(blocks * kinds, blocks * kinds + kinds**2)
        covariance[pairs, pairs] += (CAST_COMMON / blocks) ** 2
        return covariance
