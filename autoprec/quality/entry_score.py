"""A user-defined score: any function `module:function` of two stacks of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from autoprec.entry import load_entry
from autoprec.errors import SpecError
from autoprec.quality._base import Logits, Masks, check
from autoprec.quality._summary import Row, deviations, rows_of, summary
from autoprec.quality.survey import Survey
from autoprec.records import Quality


class EntryScore:
    """Calls `function(reference, candidate)` for each sample, with float32 logits [masks, h, w].

    It returns a score for each mask, 1 for masks that are alike; the loss is 1 - their mean. NaN leaves a
    mask out. The truth is not scored.
    """

    def __init__(self, entry: str) -> None:
        self._entry, self._score = entry, load_entry("quality.metric", entry)
        self._rows: list[Row] = []
        self._is_called = False

    @staticmethod
    def refusal(survey: Survey) -> str:  # noqa: ARG004 - what it can judge is the user's affair
        """Refuses nothing: only the user's function knows what it can judge."""
        return ""

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample. Raises `SpecError` if the function does not return one number for each mask."""
        check(sample, reference, candidate, truth)
        self._is_called |= len(reference) > 0
        try:
            scores = np.asarray(self._score(reference, candidate), np.float64)
        except Exception as error:  # a function of the user's may raise anything
            raise SpecError(
                f"quality.metric: {self._entry} raised {type(error).__name__} on {sample}: {error}"
            ) from error
        if scores.shape != (len(reference),):
            raise SpecError(
                f"quality.metric: {self._entry} returned the shape {list(scores.shape)} on {sample}; it "
                f"should return one score for each of the {len(reference)} masks"
            )
        rows = rows_of(sample, scores, deviations(reference, candidate))
        self._rows += [row for row in rows if not np.isnan(row.score)]

    def result(self) -> Quality:
        """The score of all samples so far. Raises `SpecError` where the function leaves every mask out."""
        if self._is_called and not self._rows:
            raise SpecError(
                f"quality.metric: {self._entry} returned NaN for every mask, so none counts; return scores"
            )
        return summary(self._rows, scored_as=self._entry, is_iou=False)

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """sigmoid(logits)."""
        shown: NDArray[np.float32] = expit(logits).astype(np.float32)
        return shown
