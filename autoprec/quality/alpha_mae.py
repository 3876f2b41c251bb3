"""Matting: mean absolute difference of opacities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.quality._base import Logits, Masks, check, refuse, resized
from autoprec.quality._summary import Row, deviations, rows_of, summary
from autoprec.quality.plain import MaskLevels
from autoprec.quality.scoring import alpha_mae
from autoprec.quality.survey import Survey
from autoprec.records import Quality
from autoprec.spec import SMALL_MASK

_MOST_LOGIT = 80.0
"""Values that never go below 0 and reach beyond this are no logits: pixels from 0 to 255, say."""


class AlphaError:
    """Loss is the mean absolute error of the opacity, 0..1, against the reference's; the score is 1 - that.

    Values of the whole reference within 0..1 are mattes and are compared as they are; others are logits,
    whose opacity is their sigmoid. IoU is not defined for opacities. The threshold is not used.
    """

    def __init__(self, threshold: float, survey: Survey | None = None, small: float = SMALL_MASK) -> None:  # noqa: ARG002 - all metrics take the same
        self._survey = survey
        self._ends = survey.ends if survey else None
        self._rows: list[Row] = []

    @staticmethod
    def refusal(survey: Survey) -> str:
        """Refuses what are neither mattes nor logits: pixels of 0 to 255, maps of classes."""
        wrong = ""
        if survey.low >= 0 and survey.high > _MOST_LOGIT:
            wrong = f"the masks hold values {survey.range}"
        elif survey.is_labels:
            wrong = (
                f'they hold whole numbers {survey.range}, as a map of classes (quality.metric = "label_iou")'
            )
        if not wrong:
            return ""
        return (
            f"alpha_mae needs mattes in 0..1 or their logits, but {wrong}; set pipeline.output to another "
            "output, or quality.metric to a function of your own"
        )

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's mattes; a true matte is 0 or 1."""
        check(sample, reference, candidate, truth)
        if self._survey is None:
            both = Survey.of(reference, 0.0)
            refuse(self.refusal(both))
            both.add(candidate)  # a blank reference says nothing of what it is
            self._ends = both.ends
        assert self._ends is not None
        scores, _ = alpha_mae.score(reference, candidate, MaskLevels(0.0, *self._ends))
        truths = None
        if truth is not None:
            truths = 1 - np.abs(self.opacity(resized(candidate, truth.shape[-2:])) - truth).mean(axis=(1, 2))
        self._rows += rows_of(sample, scores, deviations(reference, candidate), truths=truths)

    def result(self) -> Quality:
        """The score of all samples so far."""
        is_matte = self._ends is not None and alpha_mae.is_matte(self._ends)
        kind = "the mattes themselves" if is_matte else "the sigmoid of logits"
        return summary(self._rows, scored_as=f"mean absolute difference of {kind}", is_iou=False)

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """Opacities, float32 0..1 in the shape of `logits`."""
        return alpha_mae.opacity(logits, self._ends or Survey.of(logits, 0.0).ends)
