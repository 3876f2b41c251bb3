"""1 - mean absolute difference of opacities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLACK = 0.25
"""How far a matte may leave 0..1: networks that end in no activation overshoot a little."""


def score(
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    levels: Any,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """1 - the mean absolute error of each matte, and its pixels: float64 and int64 [masks]."""
    first, second = (opacity(values, (levels.low, levels.high)) for values in (reference, candidate))
    errors = np.abs(first - second).mean(axis=(1, 2))
    return 1.0 - errors.astype(np.float64), np.full(len(errors), reference.shape[1] * reference.shape[2])


def opacity(values: NDArray[np.float32], ends: tuple[float, float]) -> NDArray[np.float32]:
    """Mattes as they are; of logits their sigmoid: float32 0..1 of the same shape."""
    if is_matte(ends):
        return values.clip(0, 1)
    # Beyond 80 the exponential overflows in single floats, and the sigmoid is 0 or 1 all the same.
    sigmoid: NDArray[np.float32] = 1 / (1 + np.exp(-values.clip(-80, 80)))
    return sigmoid


def is_matte(ends: tuple[float, float]) -> bool:
    """Whether values from the one to the other are opacities, not logits."""
    return ends[0] >= -_SLACK and ends[1] <= 1 + _SLACK
