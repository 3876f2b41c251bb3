"""Reductions in forms that engines compute correctly.

Over no axes (`noop_with_empty_axes`), ONNX Runtime takes each value as a group of its own; OpenVINO
(2026.4.1) passes it on as it is. OpenVINO also drops what gives a reduction's result other sizes, where it
leaves as many axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_ir as ir

from autoprec.graph.model.passing import replace

_ALONE: Mapping[str, str] = MappingProxyType(
    {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log", "ReduceSumSquare": "Mul"}
)
"""What a group of one value comes to, where that is not the value; of Mul, both factors are the value."""
_SIZING = frozenset({"Flatten", "Reshape", "Transpose"})
"""Operators that give values other sizes, and may keep how many axes there are."""


def over_no_axes(graph: ir.Graph) -> None:
    """Write reductions over no axes as element-wise operators, in place. The graph is at the last opset."""
    for node in list(graph):
        op = _ALONE.get(node.op_type) if node.domain == "" else None
        has_axes = len(node.inputs) > 1 and node.inputs[1] is not None
        if op is not None and not has_axes and node.attributes.get_int("noop_with_empty_axes", False):
            inputs = [node.inputs[0]] * (2 if op == "Mul" else 1)
            replace(graph, node, [ir.node(op, inputs, name=node.name)])


def before_other_sizes(graph: ir.Graph) -> None:
    """Write a reduction that drops axes in front of a `_SIZING` operator as one that keeps them and a
    Squeeze, in place. The graph has shapes and is at the last opset."""
    for node in list(graph):
        if not node.op_type.startswith("Reduce") or node.domain != "":
            continue
        axes = node.inputs[1] if len(node.inputs) > 1 else None
        drops = not node.attributes.get_int("keepdims", 1) and axes is not None
        if drops and any(_is_sizing(use.node) for use in node.outputs[0].uses()):
            _keep_axes(graph, node)


def _is_sizing(node: ir.Node) -> bool:
    before, after = node.inputs[0], node.outputs[0]
    if node.op_type not in _SIZING or before is None or before.shape is None or after.shape is None:
        return False
    return len(before.shape) == len(after.shape) and before.shape != after.shape


def _keep_axes(graph: ir.Graph, node: ir.Node) -> None:
    name, output = node.name, node.outputs[0].name
    attributes = {**node.attributes, "keepdims": ir.AttrInt64("keepdims", 1)}
    reduction = ir.Node("", node.op_type, node.inputs, attributes.values(), name=f"{name}/kept")
    value = reduction.outputs[0]
    value.name, value.type = f"{output}/kept", node.outputs[0].type
    replace(graph, node, [reduction, ir.node("Squeeze", [value, node.inputs[1]], name=name)])
