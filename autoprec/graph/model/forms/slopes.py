"""PRelu with slopes along the last axis, written with all axes that the slopes broadcast over.

OpenVINO (2026.4.1) takes a vector of slopes for those of the channels; ONNX aligns it with the last axis.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoprec.graph.model.passing import constant


def along_last_axis(graph: ir.Graph) -> None:
    """Give such slopes leading axes of length 1, in place. The graph has shapes."""
    for node in list(graph):
        if node.op_type != "PRelu" or node.domain != "":
            continue
        value, slopes = node.inputs
        if value is None or value.shape is None or slopes is None or slopes.shape is None:
            continue
        missing = len(value.shape) - len(slopes.shape)
        if len(slopes.shape) == 1 and missing > 1:
            axes = constant(graph, f"{slopes.name}/axes", np.arange(missing))
            spread = ir.node("Unsqueeze", [slopes, axes], name=f"{node.name}/slopes")
            reshaped = spread.outputs[0]
            reshaped.name, reshaped.type = f"{node.name}/slopes", slopes.type
            reshaped.shape = ir.Shape([1] * missing + list(slopes.shape))
            graph.insert_before(node, spread)
            node.replace_input_with(1, reshaped)
