"""Semantic segmentation: each pixel's class is the largest logit; IoU for each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.quality._base import Logits, Masks, check, refuse, resized
from autoprec.quality._summary import Row, deviations, rows_of, summary, weights
from autoprec.quality.scoring import argmax_iou, mask_iou
from autoprec.quality.survey import Survey
from autoprec.records import Quality
from autoprec.spec import SMALL_MASK


class ArgmaxIou:
    """Mean over samples and over the classes that the reference or the candidate found in them.

    Boundary IoU is not defined for label maps. The threshold is not used. Classes of few pixels count less:
    see `weights`.
    """

    def __init__(self, threshold: float, survey: Survey | None = None, small: float = SMALL_MASK) -> None:  # noqa: ARG002 - all metrics take the same
        self._small, self._survey = small, survey
        self._rows: list[Row] = []

    @staticmethod
    def refusal(survey: Survey) -> str:
        """Refuses a single plane, of labels or of one class, and masks that are cut and overlap."""
        if survey.fewest_planes > 1 and survey.is_two_valued and survey.has_ties and survey.low < survey.high:
            middle = (survey.low + survey.high) / 2
            return (
                f"argmax_iou needs a class for each pixel, but planes of two values {survey.range} overlap: "
                f'set quality.metric = "mask_iou" and quality.threshold = {middle:g}'
            )
        if survey.fewest_planes > 1:
            return ""
        way = (
            'for a map of classes set quality.metric = "label_iou"'
            if survey.is_labels
            else 'set quality.metric = "mask_iou", or "label_iou" if it is a map of classes'
        )
        return (
            f"argmax_iou needs one plane for each of two classes or more, but the masks have one plane: {way}"
        )

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's classes; logits [classes, h, w], truth one bool plane for each class."""
        check(sample, reference, candidate, truth)
        if self._survey is None:
            refuse(self.refusal(Survey.of(reference, 0.0)))
        truths = None
        if truth is not None:
            labels = resized(candidate, truth.shape[-2:]).argmax(axis=0)
            truths, _ = mask_iou.overlap(labels == np.arange(len(reference))[:, None, None], truth)
        scores, union = argmax_iou.overlap(reference.argmax(axis=0), candidate.argmax(axis=0), len(reference))
        weight = weights(union, reference.shape[1:], self._small)
        rows = rows_of(sample, scores, deviations(reference, candidate), truths=truths, weight=weight)
        # A class that neither map has would score 1, and hide damage to those that are there.
        self._rows += [row for row in rows if union[row.mask]]

    def result(self) -> Quality:
        """The score of all samples so far."""
        return summary(self._rows, scored_as="IoU of each class, by the largest plane")

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """1 where a class is the pixel's largest, 0 elsewhere."""
        classes = np.arange(len(logits))[:, None, None]
        winners: NDArray[np.float32] = (logits.argmax(axis=0) == classes).astype(np.float32)
        return winners
