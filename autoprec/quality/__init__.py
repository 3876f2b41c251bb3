"""How far masks are from the reference's: the table of metrics.

A new metric is one new file in `scoring/` and one line here, `"dice": plain(dice)`, see `plain.py`. A class
as `MaskIou` is for one that has more to tell than a score for each mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from autoprec.entry import is_entry
from autoprec.errors import SpecError
from autoprec.quality._base import JudgesCut, Maker, Metric, constant, empty_or_full, refuse
from autoprec.quality.alpha_mae import AlphaError
from autoprec.quality.argmax_iou import ArgmaxIou
from autoprec.quality.entry_score import EntryScore
from autoprec.quality.label_iou import LabelIou
from autoprec.quality.mask_iou import MaskIou
from autoprec.quality.planes import Layout, planes_of, shape_refusal
from autoprec.quality.structure import CUT_ENDINGS, UNIT_ENDINGS, structure_refusal
from autoprec.quality.survey import Survey
from autoprec.spec import QualitySection

METRICS: Mapping[str, Maker] = MappingProxyType(
    {
        "mask_iou": MaskIou,
        "argmax_iou": ArgmaxIou,
        "label_iou": LabelIou,
        "alpha_mae": AlphaError,
    }
)


def scoring_file(metric: str) -> Path | None:
    """The file that scores by a metric where autoprec is not installed; None for one of the user's."""
    return Path(__file__).parent / "scoring" / f"{metric}.py" if metric in METRICS else None


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
            f"unknown quality.metric {section.metric!r}; known: {', '.join(METRICS)}, or your own "
            "`module:function`"
        )
    return METRICS[section.metric](section.threshold, survey, section.small_share)


def cuts(metric: str) -> bool:
    """Whether a metric of the table looks at nothing but what lies above the threshold: at a wrong one it
    sees no damage."""
    return bool(getattr(METRICS.get(metric), "cuts", False))


def check_reference(section: QualitySection, survey: Survey) -> None:
    """Raise `SpecError` if the metric would see no damage in the reference's masks, naming the key to
    change."""
    refuse(create_metric(section).refusal(survey))
    # Of a whole set only: a single sample may well be empty, or of one class.
    if cuts(section.metric):
        refuse(empty_or_full(survey))
    elif not is_entry(section.metric):
        refuse(constant(section.metric, survey))


__all__ = [
    "CUT_ENDINGS",
    "METRICS",
    "UNIT_ENDINGS",
    "JudgesCut",
    "Layout",
    "Metric",
    "Survey",
    "check_reference",
    "create_metric",
    "cuts",
    "planes_of",
    "refuse",
    "scoring_file",
    "shape_refusal",
    "structure_refusal",
]
