"""Nodes of small graphs in ONNX's text form, with the types and shapes that inference gives their values."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir
from onnx import numpy_helper


def graph_of(text: str, *, opset: int = 22, **constants: Any) -> ir.Graph:
    """The graph of `(inputs) => (outputs) { body }`; constants join as initializers, by name."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}, "ours": 1]> net {text}')
    for name, array in constants.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=False))
    return model.graph


def node_of(text: str, *, opset: int = 22, **constants: Any) -> ir.Node:
    """The last node of `graph_of`."""
    return list(graph_of(text, opset=opset, **constants))[-1]
