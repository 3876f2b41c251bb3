"""Gaussian processes with a linear part, and mixtures of them weighted by evidence.

One hypothesis is y = mean(x) + features(x) @ (w - start) + r(x) + noise, with w ~ N(start, covariance) and
r a process over Hamming distance that absorbs what the linear part cannot express. Conditioning has a closed
form (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 2.7). `latency.py` and
`damage.py` define mean and features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from autoprec.search.space import Codes, Floats, Space

Linear = Callable[[Codes], tuple[Floats, Floats]]
"""Maps codes (n, blocks) to a mean (n,) and features (n, p)."""

REACH = 0.25
"""Length scale of the residual: a Hamming distance, as a fraction of all blocks."""
WORTH = 0.02
"""Hypotheses that weigh less than this are left out of predictions."""
MOST = 4
"""How many hypotheses a mixture keeps: each costs a triangular solve for every batch of candidates."""


@dataclass(frozen=True, slots=True)
class Residual:
    """Kernel of r: half is linear in the number of equal blocks, half decays with Hamming distance."""

    space: Space

    def __call__(self, first: Codes, second: Codes) -> Floats:
        """(n, m) covariances; 1 where rows are equal."""
        same: Floats = self.space.one_hot(first) @ self.space.one_hot(second).T / first.shape[1]
        near: Floats = np.exp((same - 1.0) / REACH)
        return 0.5 * same + 0.5 * near


@dataclass(frozen=True)
class Posterior:
    """One hypothesis, conditioned on the data.

    Attributes:
        log_evidence: logarithm of the density of the data under the hypothesis.
    """

    linear: Linear
    start: Floats
    covariance: Floats
    residual: Residual
    spread: float
    codes: Codes
    features: Floats
    factor: Floats
    alpha: Floats
    log_evidence: float

    @cached_property
    def projected(self) -> Floats:
        """(p, n) prior covariance of the weights with the data."""
        return self.covariance @ self.features.T

    @cached_property
    def weights(self) -> Floats:
        """(p,) posterior mean of w."""
        return self.start + self.projected @ self.alpha

    @cached_property
    def weight_sd(self) -> Floats:
        """(p,) posterior standard deviations of w."""
        half = solve_triangular(self.factor, self.projected.T, lower=True, check_finite=False)
        variance = np.diag(self.covariance) - np.square(half).sum(axis=0)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def predict(self, codes: Codes) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n,), without the noise of a measurement."""
        mean, features = self.linear(codes)
        cross = features @ self.projected + self.spread**2 * self.residual(codes, self.codes)
        half = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        prior = np.einsum("np,np->n", features @ self.covariance, features) + self.spread**2
        variance = np.maximum(prior - np.square(half).sum(axis=0), 1e-12)
        return mean + cross @ self.alpha, np.sqrt(variance)


@dataclass(frozen=True, slots=True)
class Data:
    """Observations, and the residual's kernel between them, shared by all hypotheses."""

    codes: Codes
    values: Floats
    residual: Residual
    kernel: Floats
    doubt: Floats
    """(n,) variance in addition to that of a measurement."""

    @classmethod
    def of(cls, space: Space, codes: Codes, values: Floats, doubt: Floats | None = None) -> Data:
        """Observations of a space.

        Args:
            space: the space of the codes.
            codes: (n, blocks).
            values: (n,) what was observed.
            doubt: (n,) standard deviations in addition to that of a measurement; None for 0.
        """
        residual = Residual(space)
        variance = np.zeros(len(codes)) if doubt is None else np.square(doubt)
        return cls(codes, values, residual, residual(codes, codes), variance)

    def condition(
        self,
        linear: Linear,
        start: Floats,
        covariance: Floats,
        *,
        spreads: Sequence[float],
        noises: Sequence[float],
    ) -> list[Posterior]:
        """The posteriors of hypotheses that share a linear part, one for each pair of spread and noise.

        Args:
            linear: gives mean and features.
            start: (p,) prior mean of the weights.
            covariance: (p, p) prior covariance of the weights.
            spreads: standard deviations of the residual.
            noises: standard deviations of the noise of a measurement.
        """
        mean, features = linear(self.codes)
        explained, error = features @ covariance @ features.T, self.values - mean
        posteriors = []
        for spread, noise in product(spreads, noises):
            kernel = explained + spread**2 * self.kernel
            kernel[np.diag_indices_from(kernel)] += noise**2 + self.doubt + 1e-10
            factor = cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)
            alpha = cho_solve((factor, True), error, check_finite=False)
            # Up to a constant, which all hypotheses on the same data share.
            evidence = float(-0.5 * error @ alpha - np.log(np.diag(factor)).sum())
            shared = (self.residual, spread, self.codes, features, factor, alpha, evidence)
            posteriors.append(Posterior(linear, start, covariance, *shared))
        return posteriors


@dataclass(frozen=True, slots=True)
class Mixture:
    """Hypotheses with weights that sum to 1: a misleading prior loses its weight as evidence comes in."""

    members: tuple[Posterior, ...]
    weights: Floats

    @classmethod
    def of(cls, members: Sequence[Posterior]) -> Mixture:
        """Weigh hypotheses, equally likely beforehand, by their evidence; the unlikely are dropped."""
        evidence = np.array([member.log_evidence for member in members])
        weights = np.exp(evidence - evidence.max())
        weights /= weights.sum()
        kept = [int(i) for i in np.argsort(-weights, kind="stable")[:MOST] if weights[i] > WORTH]
        return cls(tuple(members[i] for i in kept), weights[kept] / weights[kept].sum())

    def quantiles(self, codes: Codes, normals: Floats, picks: Floats) -> Floats:
        """(draws, n) values for codes (n, blocks).

        Draw i takes the hypothesis at quantile `picks`[i] of the weights, `normals`[i] standard deviations
        off its mean.
        """
        # Without the last sum: where rounding leaves it below 1, a pick above it would have no owner.
        owner = np.searchsorted(np.cumsum(self.weights)[:-1], picks, side="right")
        drawn = np.empty((len(picks), len(codes)))
        for number, member in enumerate(self.members):
            rows = owner == number
            if rows.any():
                mean, sd = member.predict(codes)
                drawn[rows] = mean + normals[rows, None] * sd
        return drawn

    def draw(self, rng: np.random.Generator) -> Posterior:
        """One hypothesis, by weight."""
        return self.members[int(rng.choice(len(self.members), p=self.weights))]

    def mean(self, codes: Codes) -> Floats:
        """(n,) mean over the hypotheses, by weight."""
        parts = [w * m.predict(codes)[0] for w, m in zip(self.weights, self.members, strict=True)]
        return np.asarray(np.sum(parts, axis=0))
