"""Matting: mean absolute difference of the opacities sigmoid(logits)."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from autoprec.quality._base import Logits, Masks, Row, logit_errors, refuse_nan, summary
from autoprec.records import Quality


class AlphaError:
    """Loss is the mean absolute error of the opacity, 0..1, against the reference's; the score is 1 - that.

    Boundary IoU is not defined for opacities and repeats the score. The threshold is not used.
    """

    def __init__(self, threshold: float) -> None:  # noqa: ARG002 - every metric takes it
        self._rows: list[Row] = []

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's mattes; logits [mattes, h, w], truth of the same size."""
        refuse_nan(sample, candidate)
        wanted, found = expit(reference), expit(candidate)
        scores = 1 - np.abs(wanted - found).mean(axis=(1, 2))
        errors, scales = logit_errors(reference, candidate)
        truths = (
            np.full(len(scores), np.nan) if truth is None else 1 - np.abs(found - truth).mean(axis=(1, 2))
        )
        self._rows += [
            Row(sample, i, float(s), float(s), float(t), float(e), float(v))
            for i, (s, t, e, v) in enumerate(zip(scores, truths, errors, scales, strict=True))
        ]

    def result(self) -> Quality:
        """The score of all samples so far."""
        return summary(self._rows)
