"""What the anchors' profiles let us believe of block times, before a trial is measured.

Every figure of a profile is off by some percent, and the best of many assignments is best by such errors,
too: what seems to save 6 % saves 1 %. So ratios of precisions are drawn to what all blocks have in common,
by as much of their spread as errors explain (empirical Bayes: Efron and Morris, JASA 70, 1975).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoprec.search.space import Floats

WORK = 2.0
"""Standard deviation of a block's log time: blocks differ in work by whole factors."""
OWN = 0.25
"""At least this part of the spread of ratios is the blocks' own."""
UNKNOWN = 10.0
"""Standard deviation of a log time that no profile gives."""


class Beliefs(NamedTuple):
    """Log times (blocks, precisions), and their covariances (blocks, precisions, precisions)."""

    means: Floats
    errors: Floats


def shrunk(logs: Floats, is_measured: NDArray[np.bool_], trust: float) -> Beliefs:
    """Beliefs from the log times of profiles.

    Args:
        logs: (blocks, precisions); guesses where nothing is known.
        is_measured: (blocks, precisions).
        trust: the standard deviation of a profile's log time.
    """
    work = np.exp(logs[:, 0])
    ratios = logs - logs[:, :1]
    common = work @ ratios / work.sum()
    spread = work @ np.square(ratios - common) / work.sum()
    prior = WORK**2 + np.diag(np.maximum(spread - 2 * trust**2, OWN * spread))
    noise = np.square(np.where(is_measured, trust, UNKNOWN))
    gain = prior @ np.linalg.inv(prior + noise[:, :, None] * np.eye(len(common)))
    centre = logs[:, 0].mean() + common
    means = centre + np.einsum("bij,bj->bi", gain, logs - centre)
    return Beliefs(means, prior - gain @ prior)
