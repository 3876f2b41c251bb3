"""How far masks are from the reference's: the table of metrics.

A new metric is one new file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from autoprec.entry import is_entry
from autoprec.errors import SpecError
from autoprec.quality._base import Metric
from autoprec.quality.alpha_mae import AlphaError
from autoprec.quality.argmax_iou import ArgmaxIou
from autoprec.quality.entry_score import EntryScore
from autoprec.quality.mask_iou import MaskIou
from autoprec.spec import QualitySection

METRICS: Mapping[str, Callable[[float], Metric]] = MappingProxyType(
    {
        "mask_iou": MaskIou,
        "argmax_iou": ArgmaxIou,
        "alpha_mae": AlphaError,
    }
)


def create_metric(section: QualitySection) -> Metric:
    """A fresh metric of the definition's name and threshold; `module:function` is a score of the user's own.

    Raises `SpecError` for an unknown name.
    """
    if is_entry(section.metric):
        return EntryScore(section.metric)
    if section.metric not in METRICS:
        raise SpecError(
            f"unknown quality.metric {section.metric!r}; known ones: {', '.join(METRICS)}, or your own "
            "`module:function`"
        )
    return METRICS[section.metric](section.threshold)


__all__ = ["METRICS", "Metric", "create_metric"]
