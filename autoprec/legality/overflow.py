"""Blocks whose values FP16 cannot hold, from what calibration saw."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from autoprec.graph.statistics.ranges import Histograms
from autoprec.precisions import PRECISIONS
from autoprec.records import Block


def overflowing(histograms: Histograms, blocks: Sequence[Block], model: ir.Model) -> dict[str, str]:
    """The reason for each block, by name, that computes values above FP16's largest."""
    limit = PRECISIONS["fp16"].largest
    values = {str(node.name): [str(v.name) for v in node.outputs] for node in model.graph}
    reasons = {}
    for block in blocks:
        names = (name for node in block.nodes for name in values[node])
        largest = max((histograms.largest.get(name, 0.0) for name in names), default=0.0)
        if largest > limit:
            reasons[block.name] = f"its values reach {largest:.3g}, above FP16's {limit:.0f}"
    return reasons
