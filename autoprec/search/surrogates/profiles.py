"""Prior beliefs about block times, from the anchors' profiles.

Profiled times are off by some percent, and the best of many assignments is best partly by such errors: what
seems to save 6 % saves 1 %. Ratios between precisions are therefore shrunk towards what all blocks have in
common, by as much of their spread as errors explain (empirical Bayes: Efron and Morris, JASA 70, 1975).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoprec.search.space import Floats

WORK = 2.0
"""Standard deviation of a block's log time: blocks differ in work by whole factors."""
OWN = 0.25
"""At least this fraction of the spread of ratios is taken to be real."""
UNKNOWN = 10.0
"""Standard deviation of a log time that no profile gives."""


class Beliefs(NamedTuple):
    """Means of log times (blocks, precisions), and covariances (blocks, precisions, precisions)."""

    means: Floats
    errors: Floats


def shrunk(logs: Floats, is_measured: NDArray[np.bool_], trust: float) -> Beliefs:
    """Beliefs from the log times of profiles.

    Args:
        logs: (blocks, precisions); guesses where nothing is known.
        is_measured: (blocks, precisions), whether a profile gave that time.
        trust: standard deviation of a profile's log time.
    """
    # By time in the first precision: a ratio matters as much as the time that it is of.
    work = np.exp(logs[:, 0])
    ratios = logs - logs[:, :1]
    common = work @ ratios / work.sum()
    spread = work @ np.square(ratios - common) / work.sum()
    # Added to all entries, since a block's amount of work is common to its precisions. A ratio carries the
    # errors of two times, hence twice the variance.
    prior = WORK**2 + np.diag(np.maximum(spread - 2 * trust**2, OWN * spread))
    noise = np.square(np.where(is_measured, trust, UNKNOWN))
    gain = prior @ np.linalg.inv(prior + noise[:, :, None] * np.eye(len(common)))
    centre = logs[:, 0].mean() + common
    means = centre + np.einsum("bij,bj->bi", gain, logs - centre)
    return Beliefs(means, prior - gain @ prior)
