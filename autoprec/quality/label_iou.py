"""Semantic segmentation that ends in ArgMax: each pixel holds the number of its class; IoU for each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.quality._base import Logits, Masks, check, refuse
from autoprec.quality._summary import Row, rows_of, summary, weights
from autoprec.quality.scoring import label_iou, mask_iou
from autoprec.quality.survey import MOST_LABELS, Survey
from autoprec.records import Quality
from autoprec.spec import SMALL_MASK


class LabelIou:
    """Mean over samples and over the classes that the reference or the candidate found in them.

    A map of classes says nothing of how near a pixel was to another class: where a model has the values
    before its ArgMax as an output too, argmax_iou is the same loss with the raw error beside it. The
    threshold is not used.
    """

    def __init__(self, threshold: float, survey: Survey | None = None, small: float = SMALL_MASK) -> None:  # noqa: ARG002 - all metrics take the same
        self._small, self._survey = small, survey
        self._rows: list[Row] = []

    @staticmethod
    def refusal(survey: Survey) -> str:
        """Refuses anything but whole numbers."""
        if survey.is_labels or survey.is_two_valued:
            return ""
        metric = "argmax_iou" if survey.fewest_planes > 1 else "mask_iou"
        return (
            f"label_iou needs the number of a class in every pixel, but the masks hold values "
            f'{survey.range}: set quality.metric = "{metric}"'
        )

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's map of classes [1, h, w]; truth is one bool plane for each class."""
        check(sample, reference, candidate, None)
        if self._survey is None:
            refuse(self.refusal(Survey.of(reference, 0.0)))
        labels = label_iou.labels_of(reference)
        classes, scores, union = label_iou.overlap(labels, label_iou.labels_of(candidate))
        shares = np.bincount(np.searchsorted(classes, labels), minlength=len(classes)) / labels.size
        truths = None if truth is None else _against(truth, classes, candidate)
        # Of each class as a plane of 0 and 1: the share of pixels that differ, and its variance.
        deviations = union * (1 - scores) / labels.size, shares * (1 - shares)
        weight = weights(union, (labels.size,), self._small)
        rows = rows_of(sample, scores, deviations, truths=truths, weight=weight)
        self._rows += [row._replace(mask=int(classes[row.mask])) for row in rows]

    def result(self) -> Quality:
        """The score of all samples so far."""
        return summary(self._rows, scored_as="IoU of each class of a label map")

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """1 where a pixel has the class, 0 elsewhere: a plane for each class up to the largest known."""
        # The reference's largest too: where a candidate lost the last class, that is what has to be shown.
        highest = max(self._survey.high if self._survey else 0.0, logits.max())
        # A broken candidate may hold any number: planes up to 1e9 would take all memory.
        highest = min(highest, MOST_LABELS)
        classes = np.arange(int(highest) + 1)
        planes: NDArray[np.float32] = (np.rint(logits[0]) == classes[:, None, None]).astype(np.float32)
        return planes


def _against(truth: Masks, classes: NDArray[np.int64], candidate: Logits) -> NDArray[np.float64]:
    """IoU of each class against its true plane; NaN for a class without one. Nearest pixels: labels do not
    blend."""
    height, width = truth.shape[-2:]
    # By index, not by interpolation: between classes 1 and 3 lies no class 2.
    rows = np.arange(height) * candidate.shape[1] // height
    columns = np.arange(width) * candidate.shape[2] // width
    labels = np.rint(candidate[0][rows][:, columns])
    scores = np.full(len(classes), np.nan)
    for row, label in enumerate(classes.tolist()):
        if 0 <= label < len(truth):
            scores[row] = mask_iou.overlap((labels == label)[None], truth[label : label + 1])[0][0]
    return scores
