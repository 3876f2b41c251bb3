"""A metric from nothing but its function in `scoring/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SpecError
from autoprec.quality._base import Logits, Masks, check, resized
from autoprec.quality._summary import Row, Scores, deviations, rows_of, summary, weights
from autoprec.quality.survey import Survey
from autoprec.records import Quality
from autoprec.spec import SMALL_MASK


class ScoringModule(Protocol):
    """A module of `scoring/`: see there."""

    __doc__: str | None

    def score(
        self,
        reference: Logits,
        candidate: Logits,
        levels: Any,
        /,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Scores and pixels, [masks] each, of logits [masks, h, w]."""


class MaskLevels(NamedTuple):
    """What values mean: mask above the threshold; the lowest and the highest of all samples."""

    threshold: float
    low: float
    high: float


def plain(scoring: ScoringModule, *, cuts: bool = True) -> PlainMaker:
    """The maker of a metric that scores as a module of `scoring/` does.

    Args:
        scoring: has the function.
        cuts: whether it looks at nothing but which values lie above the threshold. A reference of which all
            or none do is refused then: no damage would be seen.
    """
    return PlainMaker(scoring, cuts)


@dataclass(frozen=True, slots=True)
class PlainMaker:
    """What `plain` makes, for the table of metrics."""

    scoring: ScoringModule
    cuts: bool

    def __call__(
        self, threshold: float, survey: Survey | None = None, small: float = SMALL_MASK
    ) -> PlainMetric:
        """The metric; arguments as those of `PlainMetric`."""
        return PlainMetric(self.scoring, threshold, survey, small)


class PlainMetric:
    """Scores as its module says; a pixel is shown as mask above the threshold.

    True masks are scored like masks that lie 1 above the threshold inside and 1 below it outside.

    Args:
        scoring: has the function.
        threshold: of the definition.
        survey: of the whole reference; None takes each sample for all there is.
        small: share of the plane below which a mask counts less.
    """

    def __init__(
        self,
        scoring: ScoringModule,
        threshold: float,
        survey: Survey | None = None,
        small: float = SMALL_MASK,
    ) -> None:
        self._scoring, self._threshold, self._small = scoring, threshold, small
        self._ends = survey.ends if survey else None
        self._rows: list[Row] = []

    @staticmethod
    def refusal(survey: Survey) -> str:  # noqa: ARG004 - a module of `scoring/` says nothing of it
        """Refuses nothing."""
        return ""

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample. Raises `SpecError` if the module does not give one score for each mask."""
        check(sample, reference, candidate, truth)
        scores, pixels = self._score(reference, candidate)
        truths = None
        if truth is not None:
            sure = np.where(truth, self._threshold + 1, self._threshold - 1).astype(np.float32)
            truths, _ = self._score(sure, resized(candidate, truth.shape[-2:]))
        weight = weights(pixels, reference.shape[1:], self._small)
        self._rows += rows_of(sample, scores, deviations(reference, candidate), truths=truths, weight=weight)

    def _score(self, reference: Logits, candidate: Logits) -> tuple[Scores, NDArray[np.int64]]:
        ends = self._ends or Survey.of(reference, self._threshold).ends
        scores, pixels = self._scoring.score(reference, candidate, MaskLevels(self._threshold, *ends))
        if not scores.shape == pixels.shape == (len(reference),):
            raise SpecError(
                f"quality.metric: its score gave {list(scores.shape)} scores and {list(pixels.shape)} pixels "
                f"for {len(reference)} masks; it should give one of each for each mask"
            )
        return scores, pixels

    def result(self) -> Quality:
        """The score of all samples so far."""
        told = (self._scoring.__doc__ or "a metric without a description").splitlines()[0]
        return summary(self._rows, scored_as=told.rstrip("."), is_iou=False)

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """1 above the threshold, 0 elsewhere."""
        return (logits > self._threshold).astype(np.float32)
