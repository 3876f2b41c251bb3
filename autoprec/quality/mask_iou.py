"""Binary masks, the default: 1 - mean IoU of thresholded masks against the reference's."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autoprec.quality._base import Logits, Masks, check, refuse, resized
from autoprec.quality._summary import Row, Scores, deviations, rows_of, summary, weights
from autoprec.quality.scoring.mask_iou import overlap
from autoprec.quality.survey import Survey
from autoprec.records import Quality
from autoprec.spec import SMALL_MASK

# The share of the diagonal in the paper: boundary IoU is comparable with others at this one alone.
_DILATION_RATIO = 0.02


class MaskIou:
    """Mean mask IoU, boundary IoU (Cheng et al., CVPR 2021), and IoU against ground truth.

    A pixel is mask where its value is above the threshold; nearly empty masks count less: see `weights`.
    """

    cuts = True

    def __init__(self, threshold: float, survey: Survey | None = None, small: float = SMALL_MASK) -> None:
        self._threshold, self._small = threshold, small
        self._survey = survey
        self._rows: list[Row] = []

    @staticmethod
    def refusal(survey: Survey) -> str:
        """Refuses probabilities cut at 0, and label maps cut below their first class."""
        if survey.is_labels and survey.threshold < 1:
            return (
                f"the masks hold whole numbers {survey.range}, as a map of classes does, and mask_iou would "
                'not see one class become another: set quality.metric = "label_iou", or quality.threshold '
                "within them if they are pixels"
            )
        if survey.is_unit and not survey.is_two_valued and survey.threshold <= 0:
            return (
                f"the masks hold values {survey.range}, as probabilities do, and quality.threshold "
                f"{survey.threshold:g} counts all of them as mask: set quality.threshold = 0.5, "
                'or quality.metric = "alpha_mae" for mattes'
            )
        return ""

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's masks; logits are resized to the truth's size before they are cut.

        Of several masks of one true one, as SAM's decoder gives for a prompt that may mean a part or the
        whole, the best counts as the answer: as in Kirillov et al., ICCV 2023, "oracle".
        """
        check(sample, reference, candidate, truth, several=True)
        truths = None
        if truth is not None:
            # Resized before they are cut: a resized mask would have steps for an edge.
            truths = _best(resized(candidate, truth.shape[-2:]) > self._threshold, truth)
        self._add(sample, reference, candidate > self._threshold, deviations(reference, candidate), truths)

    @property
    def cuts_above(self) -> float:
        """As `JudgesCut.cuts_above`."""
        return self._threshold

    def update_cut(self, sample: str, reference: Logits, masks: Masks) -> None:
        """As `JudgesCut.update_cut`."""
        check(sample, reference, reference, None)
        unknown = np.full(len(masks), np.nan)
        self._add(sample, reference, masks, (unknown, unknown), None)

    def _add(
        self,
        sample: str,
        reference: Logits,
        masks: Masks,
        logit_deviations: tuple[Scores, Scores],
        truths: Scores | None,
    ) -> None:
        """Score masks that are cut.

        Args:
            sample: its name.
            reference: logits.
            masks: the candidate's.
            logit_deviations: as `deviations` gives them; NaN where they are not known.
            truths: scores against the truth.
        """
        if self._survey is None:
            refuse(self.refusal(Survey.of(reference, self._threshold)))
        wanted = reference > self._threshold
        scores, union = overlap(wanted, masks)
        self._rows += rows_of(
            sample,
            scores,
            logit_deviations,
            boundaries=overlap(_boundary(wanted), _boundary(masks))[0],
            truths=truths,
            weight=weights(union, wanted.shape[1:], self._small),
        )

    def result(self) -> Quality:
        """The score of all samples so far."""
        return summary(self._rows, scored_as=f"IoU of values above {self._threshold:g}")

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """1 above the threshold, 0 elsewhere."""
        return (logits > self._threshold).astype(np.float32)


def _best(masks: Masks, truth: Masks) -> NDArray[np.float64]:
    """IoU of each mask with its true one, [masks]; NaN for all but the best of those that share one."""
    several = len(masks) // len(truth)
    scores = overlap(masks, truth.repeat(several, axis=0))[0].reshape(len(truth), several)
    others = np.arange(several) != scores.argmax(axis=1)[:, None]
    return np.where(others, np.nan, scores).reshape(-1)


def _boundary(masks: Masks) -> Masks:
    """The pixels of each mask within 2 % of the image's diagonal of its edge; the frame is an edge too."""
    # At least 1: of a small plane 2 % round to 0, and a slice that ends at -0 is empty.
    reach = max(1, round(_DILATION_RATIO * math.hypot(*masks.shape[-2:])))
    edge: Masks = masks & ~_eroded(masks, reach)
    return edge


def _eroded(masks: Masks, reach: int) -> Masks:
    """Erosion by a square of side 2 `reach` + 1: along each axis an AND of shifts that double.

    Shifts are of all planes in a row, since no square around a pixel reaches over the zeros around its plane.
    """
    count, height, width = masks.shape
    row, side = width + 2 * reach, 2 * reach + 1
    framed = np.zeros((count, height + 2 * reach, row), np.bool_)
    # The frame of zeros makes the image border an edge, as in the definition of boundary IoU.
    framed[:, reach:-reach, reach:-reach] = masks
    inner = framed.view(np.uint8).reshape(-1)
    for stride in (1, row):
        covered = 1
        while covered < side:
            step = min(covered, side - covered)
            inner = inner[: -step * stride] & inner[step * stride :]
            covered += step
    framed.view(np.uint8).reshape(-1)[: inner.size] = inner
    return framed[:, :height, :width]
