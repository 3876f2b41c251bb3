"""How far masks are from the reference's: the table of metrics.

A new metric is one new file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from autoprec.quality._base import Metric
from autoprec.quality.alpha_mae import AlphaError
from autoprec.quality.argmax_iou import ArgmaxIou
from autoprec.quality.mask_iou import MaskIou

METRICS: Mapping[str, Callable[[float], Metric]] = MappingProxyType(
    {
        "mask_iou": MaskIou,
        "argmax_iou": ArgmaxIou,
        "alpha_mae": AlphaError,
    }
)

__all__ = ["METRICS", "Metric"]
