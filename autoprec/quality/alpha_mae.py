"""Matting: mean absolute difference of the opacities sigmoid(logits)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from autoprec.quality._base import Logits, Masks, Row, check, resized, rows_of, summary
from autoprec.records import Quality


class AlphaError:
    """Loss is the mean absolute error of the opacity, 0..1, against the reference's; the score is 1 - that.

    Boundary IoU is not defined for opacities and repeats the score. The threshold is not used.
    """

    def __init__(self, threshold: float) -> None:  # noqa: ARG002 - every metric takes it
        self._rows: list[Row] = []

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's mattes; a true matte is 0 or 1."""
        check(sample, reference, candidate, truth)
        scores = 1 - np.abs(expit(reference) - expit(candidate)).mean(axis=(1, 2))
        truths = None
        if truth is not None:
            truths = 1 - np.abs(expit(resized(candidate, truth.shape[-2:])) - truth).mean(axis=(1, 2))
        self._rows += rows_of(sample, reference, candidate, scores, scores, truths)

    def result(self) -> Quality:
        """The score of all samples so far."""
        return summary(self._rows)

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """The matte."""
        matte: NDArray[np.float32] = expit(logits).astype(np.float32)
        return matte
