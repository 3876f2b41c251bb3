"""Reductions over no axes (`noop_with_empty_axes`): what they do to each value.

ONNX Runtime takes each value as a group of its own, OpenVINO (2026.4.1) passes it on as it is.
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


def over_no_axes(graph: ir.Graph) -> None:
    """Write such reductions as what they do to each value, in place. The graph is at the last opset."""
    for node in list(graph):
        op = _ALONE.get(node.op_type) if node.domain == "" else None
        has_axes = len(node.inputs) > 1 and node.inputs[1] is not None
        if op is not None and not has_axes and node.attributes.get_int("noop_with_empty_axes", False):
            inputs = [node.inputs[0]] * (2 if op == "Mul" else 1)
            replace(graph, node, [ir.node(op, inputs, name=node.name)])
