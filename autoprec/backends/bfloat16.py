"""BF16 for runtimes without kernels for it: operators compute in FP32, and their results are rounded."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

_BFLOAT16 = ir.DataType.BFLOAT16
_TAKES_ANY = frozenset({"Cast", "Constant", "ConstantOfShape"})
"""Operators that ONNX Runtime computes in BF16 too, or whose type an attribute says."""


def without_bfloat16(path: Path, scratch: Path) -> Path:
    """`path` itself where nothing is BF16, else `scratch`: its BF16 operators stand between Casts."""
    model = ir.load(path)
    values = [value for node in model.graph for value in (*node.inputs, *node.outputs) if value is not None]
    if not any(value.dtype == _BFLOAT16 for value in (*values, *model.graph.initializers.values())):
        return path
    if any(value.dtype is None for value in values):
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model)
    for node in list(model.graph):
        if node.op_type not in _TAKES_ANY:
            _widen(model.graph, node)
    ir.save(model, scratch, external_data=f"{scratch.name}.data")
    return scratch


def _widen(graph: ir.Graph, node: ir.Node) -> None:
    """Put Casts before and behind one node."""
    for place, value in enumerate(node.inputs):
        if value is not None and value.dtype == _BFLOAT16:
            name = f"{value.name}/float/{node.outputs[0].name}/{place}"
            cast = _cast(value, name, ir.DataType.FLOAT)
            graph.insert_before(node, cast)
            node.replace_input_with(place, cast.outputs[0])
    for value in node.outputs:
        if value.dtype == _BFLOAT16:
            rounded = _cast(value, f"{value.name}/rounded", _BFLOAT16)
            graph.insert_after(node, rounded)
            value.replace_all_uses_with(rounded.outputs[0], replace_graph_outputs=True)
            rounded.replace_input_with(0, value)
            # The name goes with the rounded value, since outputs are asked for by it.
            rounded.outputs[0].name = value.name
            value.name = f"{value.name}/float"
            value.dtype = ir.DataType.FLOAT


def _cast(value: ir.Value, name: str, data_type: ir.DataType) -> ir.Node:
    result = ir.Value(name=name, shape=value.shape, type=ir.TensorType(data_type))
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", data_type.value)], outputs=[result], name=name)
