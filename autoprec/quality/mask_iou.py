"""Binary masks, the default: 1 - mean IoU of thresholded masks against the reference's."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from autoprec.quality._base import Logits, Masks, Row, iou, logit_errors, refuse_nan, summary
from autoprec.records import Quality

_DILATION_RATIO = 0.02


class MaskIou:
    """Mean mask IoU, boundary IoU (Cheng et al., CVPR 2021), and IoU against ground truth.

    Args:
        threshold: logit above which a pixel is mask.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._rows: list[Row] = []

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's masks; logits [masks, h, w]."""
        refuse_nan(sample, candidate)
        wanted, found = reference > self._threshold, candidate > self._threshold
        scores, edges = iou(wanted, found), iou(_boundary(wanted), _boundary(found))
        errors, scales = logit_errors(reference, candidate)
        truths = np.full(len(scores), np.nan)
        if truth is not None:
            truths = iou(_resized(candidate, truth.shape[-2:]) > self._threshold, truth)
        self._rows += [
            Row(sample, mask, *map(float, figures))
            for mask, figures in enumerate(zip(scores, edges, truths, errors, scales, strict=True))
        ]

    def result(self) -> Quality:
        """The score of all samples so far."""
        return summary(self._rows)


def _boundary(masks: Masks) -> Masks:
    """The pixels of each mask within 2 % of the image's diagonal of its edge."""
    distance = max(1, round(_DILATION_RATIO * float(np.hypot(*masks.shape[-2:]))))
    size = 2 * distance + 1
    eroded = ndimage.minimum_filter(masks.view(np.uint8), size=(1, size, size), mode="constant", cval=0)
    edge: Masks = masks & (eroded == 0)
    return edge


def _resized(logits: Logits, size: tuple[int, ...]) -> Logits:
    """Logits resized bilinearly to (height, width)."""
    if logits.shape[-2:] == size:
        return logits
    shape = (size[1], size[0])
    return np.stack(
        [np.asarray(Image.fromarray(plane).resize(shape, Image.Resampling.BILINEAR)) for plane in logits]
    )
