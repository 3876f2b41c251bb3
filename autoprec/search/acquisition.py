"""How much an assignment is expected to add to the front, by both surrogates and the failures.

Expected hypervolume improvement by Monte Carlo, with the same draws for every candidate. The area is
taken twice: over the loss itself, and over its logarithm, where near-perfect masks weigh as much as ruined
ones; what is slower than the reference earns nothing there. To both comes the expected gain in speed within
the loss that users accept.
"""

from __future__ import annotations

import numpy as np

from autoprec.search._base import Priors
from autoprec.search.damage import DamageModel
from autoprec.search.failures import Failures
from autoprec.search.fronts import front_of, hypervolume, improvement
from autoprec.search.history import History
from autoprec.search.latency import LatencyModel
from autoprec.search.limits import Limits
from autoprec.search.pool import sweep
from autoprec.search.space import Codes, Floats, Space

DRAWS = 24
"""Monte Carlo draws of both objectives for every candidate."""
SWEPT = 8
"""Posterior draws whose Lagrangian optima are candidates; the first one is the posterior mean."""
MARGIN = 1.1
"""The corner of the area is this far beyond the worst values."""
LOG_WEIGHT = 2.0
"""Worth of the logarithmic area: with 0.5 the speed-up at a loss of 0.01 came later on tabular problems."""
SPEED_WEIGHT = 1.0
"""Worth of speed within the accepted loss: on tabular problems it took the share of the possible speed-up at
50 evaluations from 0.90 to 0.98, and 0.001 off the hypervolume; 4.0 took more."""
LIKELY_TO_FAIL = 0.5
CAUTION = 4
"""Power of the probability that limits hold: beyond them the front has nothing, so all looks good."""


class Acquisition:
    """The surrogates fitted to one history; call it with codes (n, blocks) for scores (n,).

    Attributes:
        swept: (n, blocks) Lagrangian optima of the surrogates, with duplicates.
    """

    def __init__(self, space: Space, priors: Priors, history: History, rng: np.random.Generator) -> None:
        self._space = space
        self._rng = rng
        self._accepted_loss = priors.accepted_loss
        reference = priors.reference_latency_ms or float(np.median(history.values[:, 0]))
        ratios, losses = history.values[:, 0] / reference, history.values[:, 1]
        profile, sensitivity = space.table(priors.latency_ms) / reference, space.table(priors.sensitivity)
        self._latency = LatencyModel(space, profile)
        self._latencies = self._latency.fit(history.measured, ratios)
        self._damages = DamageModel(space, sensitivity).fit(history.measured, losses)
        self._failures, self._limits = Failures(space, history), Limits(space, history)
        self._normals = rng.standard_normal((2, DRAWS))
        self._picks = rng.permuted((np.arange(DRAWS) + 0.5) / DRAWS), (np.arange(DRAWS) + 0.5) / DRAWS
        self.swept = self._sweeps()
        within = history.measured[history.feasible] if history.feasible.any() else history.measured
        self._set_fronts(np.concatenate((within, history.pending)))

    def __call__(self, codes: Codes) -> Floats:
        """(n,) expected improvement, as a part of what the front has, if it builds within all limits."""
        times = self._latencies.quantiles(codes, self._normals[0], self._picks[0])
        logs = self._damages.mixture.quantiles(codes, self._normals[1], self._picks[1])
        losses = self._damages.losses(logs)
        points = np.stack((times, losses), axis=2)
        gain = improvement(points, self._front, self._corner).mean(axis=0) / self._area
        points[:, :, 1] = np.maximum(logs, np.log(self._damages.floor))
        log_gain = improvement(points, self._log_front, self._log_corner).mean(axis=0) / self._log_area
        accepted = losses <= self._accepted_loss
        speed_gain = (np.maximum(self._fastest - times, 0.0) * accepted).mean(axis=0) / self._time_span
        tie_break = 1e-9 * self._rng.random(len(codes))
        fits = (1.0 - self._limits.probability(codes)) ** CAUTION
        succeeds = (1.0 - self._failures.probability(codes)) * fits
        return np.asarray((gain + LOG_WEIGHT * log_gain + SPEED_WEIGHT * speed_gain + tie_break) * succeeds)

    def _sweeps(self) -> Codes:
        """Lagrangian optima of draws of the surrogates' additive parts."""
        space, rng = self._space, self._rng
        shape = space.legal.shape
        times, borders, damages = [], [], []
        for number in range(SWEPT):
            posterior = self._latencies.draw(rng)
            noise = rng.standard_normal(len(posterior.weights)) * (number > 0)
            cost, border = self._latency.costs(posterior.weights + noise * posterior.weight_sd)
            posterior = self._damages.mixture.draw(rng)
            noise = rng.standard_normal(len(posterior.weights)) * (number > 0)
            logs = (posterior.weights + noise * posterior.weight_sd)[:-1]
            times.append(cost)
            borders.append(border)
            damages.append(np.exp(np.minimum(logs, 10.0)).reshape(shape))
        return sweep(space, np.array(times), np.array(borders), np.array(damages))

    def _loss_of_fastest(self) -> float:
        """What the fastest buildable assignment is expected to lose.

        Without it, a failed INT8 anchor would leave only the losses measured so far in view.
        """
        likely = self.swept[self._failures.probability(self.swept) < LIKELY_TO_FAIL]
        if not len(likely):
            return self._damages.scale
        fastest = likely[[int(np.argmin(self._latencies.mean(likely)))]]
        return max(self._damages.scale, float(self._damages.losses(self._damages.mixture.mean(fastest))[0]))

    def _set_fronts(self, codes: Codes) -> None:
        """Fronts, corners and areas of both scales, of what is expected of measured and pending trials.

        Expected rather than measured: a lucky timing would otherwise hide what is better.
        """
        losses = self._damages.losses(self._damages.mixture.mean(codes))
        values = np.column_stack((self._latencies.mean(codes), losses))
        self._front = front_of(values)
        self._corner = MARGIN * np.maximum(values.max(axis=0), (0.0, self._loss_of_fastest()))
        self._area = hypervolume(values, self._corner)
        logs = np.log(self._damages.floor + np.maximum(values[:, 1], 0.0))
        values = np.column_stack((values[:, 0], logs))
        self._log_front = front_of(values)
        lowest, worst = np.log(self._damages.floor), np.log(self._damages.floor + self._corner[1])
        self._log_corner = np.array([1.0, worst])
        self._time_span = max(1.0 - values[:, 0].min(), 0.1)
        self._log_area = self._time_span * (worst - lowest)
        within = self._front[self._front[:, 1] <= self._accepted_loss, 0]
        self._fastest = min(1.0, within.min(initial=1.0))
