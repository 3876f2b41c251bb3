"""How far masks are from the reference's: the table of metrics.

A new metric is one new file and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from autoprec.entry import is_entry
from autoprec.errors import SpecError
from autoprec.quality._base import JudgesCut, Metric, constant, empty_or_full, refuse
from autoprec.quality.alpha_mae import AlphaError
from autoprec.quality.argmax_iou import ArgmaxIou
from autoprec.quality.entry_score import EntryScore
from autoprec.quality.label_iou import LabelIou
from autoprec.quality.mask_iou import MaskIou
from autoprec.quality.planes import Layout, planes_of, shape_refusal
from autoprec.quality.structure import UNIT_ENDINGS, structure_refusal
from autoprec.quality.survey import Survey
from autoprec.spec import SMALL_MASK, QualitySection


class Maker(Protocol):
    """Makes a metric from the definition's threshold, a survey of the reference, and `small_mask`."""

    def __call__(
        self, threshold: float, survey: Survey | None = None, small: float = SMALL_MASK
    ) -> Metric: ...


METRICS: Mapping[str, Maker] = MappingProxyType(
    {
        "mask_iou": MaskIou,
        "argmax_iou": ArgmaxIou,
        "label_iou": LabelIou,
        "alpha_mae": AlphaError,
    }
)


def create_metric(section: QualitySection, survey: Survey | None = None) -> Metric:
    """A fresh metric of the definition's name and threshold; `module:function` is user code.

    Args:
        section: the definition's `[quality]`.
        survey: what all of the reference's masks are like, as `check_reference` saw them; None takes each
            sample for all there is.

    Raises `SpecError` for an unknown name.
    """
    if is_entry(section.metric):
        return EntryScore(section.metric)
    if section.metric not in METRICS:
        raise SpecError(
            f"unknown quality.metric {section.metric!r}; known ones: {', '.join(METRICS)}, or your own "
            "`module:function`"
        )
    return METRICS[section.metric](section.threshold, survey, section.small_share)


def check_reference(section: QualitySection, survey: Survey) -> None:
    """Raise `SpecError` if the metric would see no damage in the reference's masks, naming the key to
    change."""
    refuse(create_metric(section).refusal(survey))
    if section.metric == "mask_iou":
        refuse(empty_or_full(survey))
    elif not is_entry(section.metric):
        refuse(constant(section.metric, survey))


__all__ = [
    "METRICS",
    "UNIT_ENDINGS",
    "JudgesCut",
    "Layout",
    "Metric",
    "Survey",
    "check_reference",
    "create_metric",
    "planes_of",
    "refuse",
    "shape_refusal",
    "structure_refusal",
]
