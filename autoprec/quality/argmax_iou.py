"""Semantic segmentation: each pixel's class is the largest logit; IoU for each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprec.quality._base import Logits, Masks, Row, check, iou, ratio, resized, rows_of, summary
from autoprec.records import Quality


class ArgmaxIou:
    """Mean over samples and over the classes that the reference or the candidate found in them.

    Boundary IoU is not defined for label maps and repeats the score. The threshold is not used.
    """

    def __init__(self, threshold: float) -> None:  # noqa: ARG002 - every metric takes it
        self._rows: list[Row] = []

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's classes; logits [classes, h, w], truth one bool plane for each class."""
        check(sample, reference, candidate, truth)
        classes = len(reference)
        pairs = reference.argmax(axis=0) * classes + candidate.argmax(axis=0)
        table = np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)
        both = table.diagonal()
        union = table.sum(axis=0) + table.sum(axis=1) - both
        scores, truths = ratio(both, union), None
        if truth is not None:
            found = resized(candidate, truth.shape[-2:]).argmax(axis=0)
            truths = iou(found == np.arange(classes)[:, None, None], truth)
        rows = rows_of(sample, reference, candidate, scores, scores, truths)
        self._rows += [row for row in rows if union[row.mask]]

    def result(self) -> Quality:
        """The score of all samples so far."""
        return summary(self._rows)

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """1 where a class is the pixel's largest, 0 elsewhere."""
        classes = np.arange(len(logits))[:, None, None]
        found: NDArray[np.float32] = (logits.argmax(axis=0) == classes).astype(np.float32)
        return found
