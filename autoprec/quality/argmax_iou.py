"""Semantic segmentation: each pixel's class is the largest logit; IoU for each class of the reference."""

from __future__ import annotations

import numpy as np

from autoprec.quality._base import Logits, Masks, Row, iou, logit_errors, refuse_nan, summary
from autoprec.records import Quality


class ArgmaxIou:
    """Mean over samples and over the classes that the reference or the candidate found.

    Boundary IoU is not defined for label maps and repeats the score. The threshold is not used.
    """

    def __init__(self, threshold: float) -> None:  # noqa: ARG002 - every metric takes it
        self._rows: list[Row] = []

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample's classes; logits [classes, h, w], truth one bool plane for each class."""
        refuse_nan(sample, candidate)
        classes = np.arange(len(reference))[:, None, None]
        wanted, found = reference.argmax(axis=0) == classes, candidate.argmax(axis=0) == classes
        errors, scales = logit_errors(reference, candidate)
        scores = iou(wanted, found)
        truths = np.full(len(scores), np.nan) if truth is None else iou(found, truth)
        present = (wanted | found).any(axis=(1, 2))
        self._rows += [
            Row(
                sample,
                int(c),
                float(scores[c]),
                float(scores[c]),
                float(truths[c]),
                float(errors[c]),
                float(scales[c]),
            )
            for c in np.flatnonzero(present)
        ]

    def result(self) -> Quality:
        """The score of all samples so far."""
        return summary(self._rows)
