"""How much an assignment is expected to be worth, given the models of latency, loss, failures and limits.

Two aims, of which the strategy takes one at a time. `speed`: faster within the loss that users accept.
`area`: expected hypervolume improvement, taken twice: over the loss itself, and over its logarithm, where
near-perfect masks weigh as much as ruined ones, and where nothing slower than the reference earns anything.
Both are Monte Carlo estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from autoprec.search._base import Priors
from autoprec.search.fronts import front_of, hypervolume, improvement
from autoprec.search.history import History
from autoprec.search.pool import sweep
from autoprec.search.space import Codes, Floats, Space
from autoprec.search.subset import subset
from autoprec.search.surrogates.damage import DamageModel, Rough
from autoprec.search.surrogates.failures import Failures
from autoprec.search.surrogates.latency import LatencyModel
from autoprec.search.surrogates.limits import Limits

DRAWS = 24
"""Monte Carlo draws of both objectives for every candidate."""
SWEPT = 8
"""Posterior draws whose Lagrangian optima become candidates; the first one is a hypothesis at its mean."""
MARGIN = 1.1
"""The reference point of the area, as a multiple of the worst values."""
LOG_WEIGHT = 0.5
"""Weight of the logarithmic area where the aim is area."""
SPEED_WEIGHT = 30.0
"""Weight of speed where it is the aim: the logarithmic area decides only where there is no speed to gain."""
SPEED_SCALE = 0.02
"""Added to the speed-up so far, in units of the reference's latency, so that first gains are not infinite."""
NEAR = 4.0
"""Losses up to this multiple of the accepted loss count as near it."""
LIKELY_TO_FAIL = 0.5
CAUTION = 4
"""Power of the probability that limits hold. Nothing measured beyond them is on the front, so everything
there seems to improve it."""


class Draws(NamedTuple):
    """Draws of latency, loss, log loss (draws, n), and the probability (n,) of success within limits."""

    times: Floats
    losses: Floats
    logs: Floats
    succeeds: Floats


class Acquisition:
    """The surrogates fitted to one history.

    Args:
        space: the legal assignments.
        priors: what is known before the first trial.
        history: all trials so far, at least one of them measured.
        rng: source of all random draws.

    Attributes:
        swept: (n, blocks) Lagrangian optima of the surrogates, with duplicates.
    """

    def __init__(self, space: Space, priors: Priors, history: History, rng: np.random.Generator) -> None:
        self._space = space
        self._rng = rng
        self._accepted_loss = priors.accepted_loss
        reference = priors.reference_latency_ms or float(np.median(history.values[:, 0]))
        kept = subset(history, priors.accepted_loss)
        codes, values = history.measured[kept], history.values[kept]
        profile, sensitivity = space.table(priors.latency_ms) / reference, space.table(priors.sensitivity)
        self._latency = LatencyModel(space, profile)
        self._latencies = self._latency.fit(codes, values[:, 0] / reference)
        damages = DamageModel(space, sensitivity, priors.accepted_loss)
        self._damages = damages.fit(codes, values[:, 1], _rough(space, priors))
        self._failures, self._limits = Failures(space, history), Limits(space, history)
        # Common random numbers: candidates differ by their merits, not by their draws.
        # Stratified, as so few draws leave tails to luck.
        even = ndtri((np.arange(DRAWS) + 0.5) / DRAWS)
        self._normals = rng.permuted(even), rng.permuted(even)
        # Stratified, so that every hypothesis gets its share of so few draws; permuted, so that those of
        # latency and of loss pair up at random.
        self._picks = rng.permuted((np.arange(DRAWS) + 0.5) / DRAWS), (np.arange(DRAWS) + 0.5) / DRAWS
        self.swept = self._sweeps()
        feasible = history.feasible[kept]
        self._within = codes[feasible] if feasible.any() else codes
        self._pending = history.pending
        self._set_fronts()

    def expect(self, row: Codes) -> None:
        """Count a row (blocks,) as running, without fitting anew."""
        self._pending = np.concatenate((self._pending, row[None]))
        self._set_fronts()

    def draws(self, codes: Codes) -> Draws:
        """Draws for codes (n, blocks): latency in units of the reference's, loss, and log(floor + loss)."""
        times = self._latencies.quantiles(codes, self._normals[0], self._picks[0])
        logs = self._damages.mixture.quantiles(codes, self._normals[1], self._picks[1])
        fits = (1.0 - self._limits.probability(codes)) ** CAUTION
        succeeds = (1.0 - self._failures.probability(codes)) * fits
        return Draws(times, self._damages.losses(logs), logs, succeeds)

    def area(self, draws: Draws) -> Floats:
        """(n,) expected improvement of the front's area, relative to that area."""
        points = np.stack((draws.times, draws.losses), axis=2)
        gain = _improvements(points, self._fronts, self._corner).mean(axis=0) / self._area
        log_gain = self._log_gains(draws).mean(axis=0)
        return self._ranked(gain + LOG_WEIGHT * log_gain, draws)

    def speed(self, draws: Draws) -> Floats:
        """(n,) expected gain in speed within the accepted loss."""
        accepted = (draws.losses <= self._accepted_loss).mean(axis=0)
        gain = self._speed_gains(draws).mean(axis=0) / self._time_span
        near = (self._log_gains(draws) * (draws.losses <= NEAR * self._accepted_loss)).mean(axis=0)
        # Multiplied by the probability of keeping within the loss: whatever is chosen for a low expected
        # loss is, more often than not, worse than expected.
        return self._ranked(SPEED_WEIGHT * gain * accepted + near, draws)

    def chance(self, draws: Draws) -> float:
        """The largest expected gain in speed within the accepted loss, relative to the speed-up so far."""
        gains = self._speed_gains(draws).mean(axis=0) * draws.succeeds
        return float(gains.max(initial=0.0) / (1.0 - self._fastest.mean() + SPEED_SCALE))

    def _speed_gains(self, draws: Draws) -> Floats:
        gains = np.maximum(self._fastest[:, None] - draws.times, 0.0) * (draws.losses <= self._accepted_loss)
        return np.asarray(gains)

    def _log_gains(self, draws: Draws) -> Floats:
        logs = np.maximum(draws.logs, np.log(self._damages.floor))
        points = np.stack((draws.times, logs), axis=2)
        return np.asarray(_improvements(points, self._log_fronts, self._log_corner) / self._log_area)

    def _ranked(self, worth: Floats, draws: Draws) -> Floats:
        """Discounted by the probability of failing or exceeding a limit, without ties."""
        # Where nothing gains, argmax would otherwise take the first row of the pool every time.
        return np.asarray((worth + 1e-9 * self._rng.random(len(worth))) * draws.succeeds)

    def _sweeps(self) -> Codes:
        """(n, blocks) Lagrangian optima of the additive parts of posterior draws."""
        space, rng = self._space, self._rng
        shape = space.legal.shape
        times, borders, damages = [], [], []
        for number in range(SWEPT):
            posterior = self._latencies.draw(rng)
            noise = rng.standard_normal(len(posterior.weights)) * (number > 0)
            cost, border = self._latency.costs(posterior.weights + noise * posterior.weight_sd)
            posterior = self._damages.mixture.draw(rng)
            noise = rng.standard_normal(len(posterior.weights)) * (number > 0)
            # Without the last weight, which is the curve's power and no damage.
            logs = (posterior.weights + noise * posterior.weight_sd)[:-1]
            times.append(cost)
            borders.append(border)
            # Capped: a draw where nothing is known may overflow, and e^10 rules a block out anyway.
            damages.append(np.exp(np.minimum(logs, 10.0)).reshape(shape))
        return sweep(space, np.array(times), np.array(borders), np.array(damages))

    def _loss_of_fastest(self) -> float:
        """The loss expected of the fastest assignment that is likely to build.

        After a failed INT8 anchor, the losses measured so far would otherwise bound the area.
        """
        likely = self.swept[self._failures.probability(self.swept) < LIKELY_TO_FAIL]
        if not len(likely):
            return self._damages.scale
        fastest = likely[[int(np.argmin(self._latencies.mean(likely)))]]
        return max(self._damages.scale, float(self._damages.losses(self._damages.mixture.mean(fastest))[0]))

    def _set_fronts(self) -> None:
        """Fronts for each draw, reference points and areas, on both scales."""
        codes = np.concatenate((self._within, self._pending))
        losses = self._damages.losses(self._damages.mixture.mean(codes))
        # Predictions also of what was measured: a lucky timing would otherwise hide better assignments.
        values = np.column_stack((self._latencies.mean(codes), losses))
        # Running trials count in each draw with that draw's values (Wilson, Hutter and Deisenroth, NeurIPS
        # 2018, section 2): at their expectations, all proposals in flight would bet on the same errors.
        drawn = self.draws(self._pending)
        measured = values[: len(self._within)]
        self._fronts = _fronts(measured, np.stack((drawn.times, drawn.losses), axis=2))
        self._corner = MARGIN * np.maximum(values.max(axis=0), (0.0, self._loss_of_fastest()))
        self._area = hypervolume(values, self._corner)
        measured = np.column_stack((measured[:, 0], self._logs(measured[:, 1])))
        floored = np.maximum(drawn.logs, np.log(self._damages.floor))
        self._log_fronts = _fronts(measured, np.stack((drawn.times, floored), axis=2))
        lowest, worst = self._logs(np.array((0.0, self._corner[1])))
        # 1 is the reference's latency: what is slower adds no area here.
        self._log_corner = np.array([1.0, worst])
        # Before anything beats the reference, a tenth of it serves as the scale.
        self._time_span = max(1.0 - values[:, 0].min(), 0.1)
        self._log_area = self._time_span * (worst - lowest)
        # The reference itself, at latency 1 and without loss, always qualifies.
        within = [front[front[:, 1] <= self._accepted_loss, 0].min(initial=1.0) for front in self._fronts]
        self._fastest = np.array(within)

    def _logs(self, losses: Floats) -> Floats:
        return np.asarray(np.log(self._damages.floor + np.maximum(losses, 0.0)))


def _fronts(measured: Floats, running: Floats) -> tuple[Floats, ...]:
    """The front (k, 2) of each draw, of measured values (n, 2) and of running ones (draws, m, 2)."""
    if not running.shape[1]:
        return (front_of(measured),) * len(running)
    return tuple(front_of(np.concatenate((measured, values))) for values in running)


def _improvements(points: Floats, fronts: Sequence[Floats], corner: Floats) -> Floats:
    """(draws, n) area that each of `points` (draws, n, 2) would add to its draw's front."""
    # With nothing running all draws share one front, and one broadcast computes them all.
    first, *others = fronts
    if all(front is first for front in others):
        return improvement(points, first, corner)
    return np.stack([improvement(p, f, corner) for p, f in zip(points, fronts, strict=True)])


def _rough(space: Space, priors: Priors) -> Rough:
    """The rough scores of legal assignments, as arrays."""
    rows = [(space.encode(scored.assignment.as_dict()), scored) for scored in priors.scored]
    legal = [(row, scored) for row, scored in rows if row is not None]
    return Rough(
        space.codes([row for row, _ in legal]),
        np.array([scored.loss for _, scored in legal], dtype=float),
        np.array([scored.doubt for _, scored in legal], dtype=float),
    )
