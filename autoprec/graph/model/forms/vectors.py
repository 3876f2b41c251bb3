"""Products with vectors of one element, written as a multiplication and a Squeeze.

OpenVINO (2026.4.1) keeps the axis where an element-wise operator stands behind the product.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoprec.graph.model.passing import constant, replace


def without_single_values(graph: ir.Graph) -> None:
    """Write such MatMul nodes as Mul and Squeeze, in place. The graph has shapes and is at the last opset."""
    for node in list(graph):
        if node.op_type != "MatMul" or node.domain != "":
            continue
        left, right = node.inputs
        if _is_single(right):
            _write(graph, node, -1)
        elif _is_single(left):
            _write(graph, node, -2)


def _is_single(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and value.shape == [1]


def _write(graph: ir.Graph, node: ir.Node, axis: int) -> None:
    """Write one product; `axis` is the one of its result that the vector's factor does not have."""
    name, output = node.name, node.outputs[0].name
    product = ir.node("Mul", list(node.inputs), name=f"{name}/product")
    value = product.outputs[0]
    value.name, value.type = f"{output}/product", node.outputs[0].type
    axes = constant(graph, f"{output}/axis", np.array([axis], np.int64))
    replace(graph, node, [product, ir.node("Squeeze", [value, axes], name=name)])
