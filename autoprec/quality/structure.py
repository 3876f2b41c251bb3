"""What a model's graph tells about its masks before it runs: the last operator decides their values."""

from __future__ import annotations

from autoprec.records import ModelOutput
from autoprec.spec import QualitySection

CUT_ENDINGS = frozenset(
    {"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Xor"}
)
"""Operators that leave masks which are cut already."""
UNIT_ENDINGS = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "Clip"})
"""Operators whose values are all from 0 to 1."""


def structure_refusal(section: QualitySection, output: ModelOutput, *, cuts: bool) -> str:
    """Why a metric would be blind to damage in an output with that last operator, and the key to change; ""
    if it would not. `cuts` says whether it looks at nothing but what lies above the threshold."""
    told = f"the output {output.name!r} ends in {output.ending}"
    if output.ending in UNIT_ENDINGS and cuts and section.threshold <= 0:
        planes = output.shape[1] if len(output.shape) == 4 else None
        way = (
            'quality.metric = "argmax_iou"'
            if output.ending == "Softmax" and (planes or 1) > 1
            else f"quality.threshold = {output.scale / 2:g}"
        )
        return (
            f"{told}, so its values are from 0 to {output.scale:g}, and quality.threshold "
            f"{section.threshold:g} counts all of them as mask: set {way}"
        )
    if output.ending in ("ArgMax", "ArgMin") and section.metric in ("argmax_iou", "alpha_mae"):
        return f'{told}, so it is a map of classes: set quality.metric = "label_iou"'
    return ""
