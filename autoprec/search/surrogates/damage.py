"""A model of the mask loss of assignments: damages of blocks add up, saturate, and leave a residual.

The log loss is modelled as log(floor + scale * (D / scale)^c), with D the sum of one positive damage for each
block's precision. Near-perfect assignments then matter as much as ruined ones, and losses of single blocks
keep their order without having to add up. The log damages start from the sensitivities; hypotheses differ in
how far they trust them. The truth need not have that form: a residual process learns interactions and
cancellation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from autoprec.search.space import Codes, Floats, Space
from autoprec.search.surrogates.gaussian import Data, Mixture, Posterior

TRUST = (0.4, 1.2, None)
"""Standard deviation of a log damage around its sensitivity; None is a hypothesis that ignores them."""
IGNORANT = 1.5
"""The same where nothing is known of a block, around a value common to all."""
SPREADS, NOISES = (0.15, 0.5, 1.5), (0.03, 0.15)
"""Standard deviations of the residual and of a measurement, in log loss; every pair is a hypothesis."""
COMMON, OF_PRECISION, OF_BLOCK, POWER = 0.7, 0.5, 0.6, 0.25
"""Standard deviations of log factors common to all damages, to a precision and to a block; and of the power
c."""
IGNORANT_PRECISION = 2.5
"""Standard deviation of a precision's log factor where sensitivities are ignored: decades up or down."""
STEPS = 3
LONGEST = 2.0
"""Largest change of a log damage in one step of the fit."""
FLOOR = 0.02
"""The smallest loss that matters, as a fraction of the largest one measured."""
FLOOR_OF_ACCEPTED, LEAST_FLOOR = 0.5, 0.1
"""Nor is it above this fraction of the accepted loss, around which differences are to count: they would drown
in the floor of a model that INT8 ruins. But never below `LEAST_FLOOR` of what `FLOOR` says: there is noise.
With stratified draws, it raised the mean share of the possible speed-up from 0.701 to 0.718 at 10 trials of
87 tabular problems."""


class Rough(NamedTuple):
    """Losses (n,) of codes (n, blocks) that no trial measured; `doubt` (n,) is their sd in log loss."""

    codes: Codes
    losses: Floats
    doubt: Floats


@dataclass(frozen=True, slots=True)
class DamageModel:
    """Nonlinear regression in log damages, linearised around its mode (Gauss-Newton, Laplace)."""

    space: Space
    sensitivity: Floats
    """(blocks, precisions) losses; NaN where unknown."""
    accepted_loss: float = np.inf

    def fit(self, codes: Codes, losses: Floats, rough: Rough | None = None) -> DamageFit:
        """Fit to measured losses (n,) of codes (n, blocks), and to rough ones."""
        scale = self.scale(losses)
        most = FLOOR * scale
        floor = float(np.clip(FLOOR_OF_ACCEPTED * self.accepted_loss, LEAST_FLOOR * most, most))
        doubt = np.zeros(len(codes))
        if rough is not None:
            doubt = np.concatenate((doubt, rough.doubt))
            codes, losses = np.concatenate((codes, rough.codes)), np.concatenate((losses, rough.losses))
        data = Data.of(self.space, codes, np.log(floor + np.maximum(losses, 0.0)), doubt)
        members: list[Posterior] = []
        for trust in TRUST if np.isfinite(self.sensitivity).any() else (None,):
            means, covariance = self._beliefs(trust, scale)
            curve = Curve(self.space, means, means, floor, scale)
            for _ in range(STEPS):
                # One middle hypothesis finds the tangent point for all: every fit costs the cube of its
                # trials.
                (posterior,) = data.condition(
                    curve.linear, means, covariance, spreads=SPREADS[1:2], noises=NOISES[:1]
                )
                curve = curve.moved(posterior.weights)
            members += data.condition(curve.linear, means, covariance, spreads=SPREADS, noises=NOISES)
        return DamageFit(Mixture.of(members), floor, scale)

    def scale(self, losses: Floats) -> float:
        """The largest loss that matters: the largest measured, or a tenth of the largest sensitivity.

        The latter counts where nothing ruinous was measured, such as when the INT8 anchor failed to build.
        """
        warned = float(np.nanmax(self.sensitivity, initial=0.0, where=np.isfinite(self.sensitivity)))
        return max(float(losses.max(initial=0.0)), 0.1 * warned, 1e-6)

    def _beliefs(self, trust: float | None, scale: float) -> tuple[Floats, Floats]:
        """Mean (p + 1,) and covariance (p + 1, p + 1) of the p log damages and, last, of the power c."""
        blocks, kinds = self.sensitivity.shape
        # With all blocks this small, their sum stays below the floor.
        smallest = 0.3 * FLOOR * scale / blocks
        even = np.full((blocks, kinds), np.log(0.3 * scale / blocks))
        of_precision = IGNORANT_PRECISION
        sds = np.full((blocks, kinds), IGNORANT)
        if trust is not None:
            is_measured = np.isfinite(self.sensitivity)
            seen = is_measured.any(axis=0)
            # A precision without any figure is the reference's own, or one as harmless.
            guess = np.where(seen, even, np.log(smallest))
            figures = np.where(is_measured, self.sensitivity, 1.0)
            even = np.where(is_measured, np.log(np.maximum(figures, smallest)), guess)
            sds = np.where(is_measured, trust, np.where(seen, IGNORANT, trust))
            of_precision = OF_PRECISION
        same_precision = np.tile(np.eye(kinds), (blocks, blocks))
        same_block = np.kron(np.eye(blocks), np.ones((kinds, kinds)))
        covariance = np.zeros((blocks * kinds + 1,) * 2)
        covariance[:-1, :-1] = (
            np.diag(np.square(sds.ravel()))
            + COMMON**2
            + of_precision**2 * same_precision
            + OF_BLOCK**2 * same_block
        )
        covariance[-1, -1] = POWER**2
        return np.append(even.ravel(), 1.0), covariance


@dataclass(frozen=True, slots=True)
class Curve:
    """log(floor + scale * (D / scale)^c) around one point of its parameters.

    `prior` and `point` are (p + 1,): log damages, then the power c.
    """

    space: Space
    prior: Floats
    point: Floats
    floor: float
    scale: float

    def linear(self, codes: Codes) -> tuple[Floats, Floats]:
        """The tangent at `point`: its values (n,) at the prior's parameters, and derivatives (n, p + 1)."""
        kinds = len(self.space.precisions)
        columns = np.arange(codes.shape[1]) * kinds + codes
        damages = np.exp(self.point[columns])
        total = damages.sum(axis=1)
        power = self.point[-1]
        part = np.log(total / self.scale)
        loss = self.scale * np.exp(power * part)
        slope = loss / (self.floor + loss)
        features = np.zeros((len(codes), len(self.point)))
        np.put_along_axis(features, columns, (power * slope / total)[:, None] * damages, axis=1)
        features[:, -1] = slope * part
        # Written around `prior`, since a posterior's weights are relative to where they start.
        mean = np.log(self.floor + loss) - features @ (self.point - self.prior)
        return mean, features

    def moved(self, weights: Floats) -> Curve:
        """The curve with its tangent moved towards `weights` (p + 1,), by one bounded step."""
        # Far from its tangent point the linearisation is worthless: a full Gauss-Newton step may diverge.
        step = np.clip(weights - self.point, -LONGEST, LONGEST)
        point = self.point + step
        point[-1] = np.clip(point[-1], 0.3, 2.0)
        return Curve(self.space, self.prior, point, self.floor, self.scale)


@dataclass(frozen=True, slots=True)
class DamageFit:
    """A fitted model: a mixture of posteriors over log(floor + loss)."""

    mixture: Mixture
    floor: float
    scale: float

    def losses(self, logs: Floats) -> Floats:
        """Losses of values on the logarithmic scale, of the same shape; never negative."""
        return np.maximum(np.exp(np.minimum(logs, 50.0)) - self.floor, 0.0)
