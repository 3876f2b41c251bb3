"""Integer operators, written as Q/DQ pairs around float ones.

ONNX Runtime's QOperator format has them: QLinearConv and QLinearMatMul of ONNX, and others of its own domain.
What only moves values is read between such a pair and written into the next one, on the same grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.model.passing import constant, named

_Grid = tuple[ir.Value | None, ir.Value | None]
"""Scale and zero point."""


class _Form(NamedTuple):
    """Where an operator has its inputs: each is followed by its scale and zero point.

    Attributes:
        op: that of floats.
        values: the places of what it computes with.
        result: the place of its result's scale.
        bias: the place of a bias on the grid of the products; None where there is none.
    """

    op: str
    values: tuple[int, ...]
    result: int
    bias: int | None = None


_FORMS: Mapping[str, _Form] = MappingProxyType(
    {
        "QLinearConv": _Form("Conv", (0, 3), 6, 8),
        "QLinearMatMul": _Form("MatMul", (0, 3), 6),
        "QGemm": _Form("Gemm", (0, 3), 7, 6),
        "QLinearAdd": _Form("Add", (0, 3), 6),
        "QLinearMul": _Form("Mul", (0, 3), 6),
        "QLinearSigmoid": _Form("Sigmoid", (0,), 3),
        "QLinearLeakyRelu": _Form("LeakyRelu", (0,), 3),
        "QLinearSoftmax": _Form("Softmax", (0,), 3),
        "QLinearAveragePool": _Form("AveragePool", (0,), 3),
        "QLinearGlobalAveragePool": _Form("GlobalAveragePool", (0,), 3),
    }
)
_CONCAT = "QLinearConcat"
"""Any number of inputs, behind the result's scale and zero point."""
INTEGER_OPS = frozenset({*_FORMS, _CONCAT})
_DOMAINS = ("", "com.microsoft")
_MOVING = frozenset(
    {"MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather",
     "Resize", "DepthToSpace", "SpaceToDepth", "Expand", "Tile"}
)  # fmt: skip
"""Operators that take integers as they take floats; of Resize see `cut_between_levels`."""
_MOVED = "autoprec.moved"
"""The key of the metadata of what moved integers."""
_WITH_LAST_AXIS = 13
"""The first opset whose Softmax means one axis."""


def without_integers(graph: ir.Graph) -> bool:
    """Write integer operators as Q/DQ pairs around float ones, in place; returns whether there were any.

    The graph is sorted. Raises `ModelError` naming a node whose layout or meaning is not that of the float
    operator.
    """
    grids: dict[ir.Value, _Grid] = {}
    has_changed = False
    for node in list(graph):
        if node.op_type == "QuantizeLinear":
            grids[node.outputs[0]] = _at(node, 1), _at(node, 2)
        elif node.domain in _DOMAINS and node.op_type in INTEGER_OPS:
            grids |= _write(graph, node)
            has_changed = True
        elif node.domain == "" and node.op_type in _MOVING and node.inputs[0] in grids:
            grids |= _moved(graph, node, grids[node.inputs[0]])
            has_changed = True
    return has_changed


def cut_between_levels(graph: ir.Graph) -> str:
    """A line about Resize nodes that interpolated between integers, once they are written in floats; empty
    without any.

    ONNX Runtime (1.32) cuts what lies between two levels towards zero: by half a step on average.
    """
    names = [
        named(node)
        for node in graph
        if _MOVED in node.meta
        and node.op_type == "Resize"
        and node.attributes.get_string("mode", "nearest") != "nearest"
    ]
    if not names:
        return ""
    return (
        f"{len(names)} Resize nodes interpolate between integers, the first is {names[0]!r}: ONNX Runtime "
        "cuts towards zero there, here it is computed in floats, up to a step of quantisation off the file"
    )


def _write(graph: ir.Graph, node: ir.Node) -> dict[ir.Value, _Grid]:
    """One operator of integers; returns the grid of its result."""
    _refuse_other_meanings(graph, node)
    if node.op_type == _CONCAT:
        op, places, result, bias = "Concat", tuple(range(2, len(node.inputs), 3)), 0, None
    else:
        op, places, result, bias = _FORMS[node.op_type]
    # Several scales are those of output channels: the columns of a product, or the first axis of a kernel.
    last = -1 if op in ("MatMul", "Gemm") and not node.attributes.get_int("transB", 0) else 0
    new = [
        _dequantized(node, _at(node, place), (_at(node, place + 1), _at(node, place + 2)), place, axis=last)
        for place in places
    ]
    stored = None if bias is None else _at(node, bias)
    if stored is not None:
        new.append(_dequantized(node, stored, (_product(graph, node), None), len(new)))
    # Two attributes that ONNX Runtime adds, and the operator of floats does not have.
    kept = [held for held in node.attributes.values() if held.name not in ("channels_last", "opset")]
    new.append(ir.Node("", op, [one.outputs[0] for one in new], kept, name=node.name))
    new[-1].outputs[0].name = f"{node.outputs[0].name}/float"
    return _put(graph, node, new, (_at(node, result), _at(node, result + 1)))


def _moved(graph: ir.Graph, node: ir.Node, grid: _Grid) -> dict[ir.Value, _Grid]:
    """An operator that moves integers, as one that moves floats."""
    value = _dequantized(node, node.inputs[0], grid, 0)
    copy = ir.Node(
        "", node.op_type, [value.outputs[0], *node.inputs[1:]], node.attributes.values(),
        num_outputs=len(node.outputs), name=node.name,
    )  # fmt: skip
    copy.meta[_MOVED] = True
    for moved, old in zip(copy.outputs, node.outputs, strict=True):
        moved.name = f"{old.name}/float" if old.name else ""
    return _put(graph, node, [value, copy], grid)


def _put(graph: ir.Graph, node: ir.Node, new: list[ir.Node], grid: _Grid) -> dict[ir.Value, _Grid]:
    """Nodes in place of one, its results quantised; without a scale they stay floats."""
    grids: dict[ir.Value, _Grid] = {}
    for old, value in zip(list(node.outputs), list(new[-1].outputs), strict=True):
        floats = value
        if grid[0] is not None:
            new.append(ir.Node("", "QuantizeLinear", [value, *grid], name=f"{named(node)}/quantize"))
            floats = new[-1].outputs[0]
            grids[floats] = grid
        floats.type, floats.shape = old.type, old.shape
        floats.name, old.name = old.name, f"{old.name}/integer"
        ir.convenience.replace_all_uses_with(old, floats, replace_graph_outputs=True)
    for one in new:
        one.metadata_props.update(node.metadata_props)
    graph.insert_after(node, new)
    graph.remove(node, safe=True)
    return grids


def _dequantized(
    node: ir.Node, value: ir.Value | None, grid: _Grid, number: int, *, axis: int = 0
) -> ir.Node:
    """A DequantizeLinear of an input.

    Args:
        node: the operator of integers.
        value: what it reads.
        grid: of the value.
        number: of the input; one value may be read twice.
        axis: of several scales.
    """
    assert value is not None
    attributes = [ir.AttrInt64("axis", axis)]
    node_put = ir.Node("", "DequantizeLinear", [value, *grid], attributes, name=f"{named(node)}/{number}")
    node_put.outputs[0].name = f"{node.outputs[0].name}/{number}/float"
    return node_put


def _product(graph: ir.Graph, node: ir.Node) -> ir.Value:
    """The scale of a bias: that of the products it is added to, the product of both operands' scales."""
    ours, theirs = (None if value is None else value.const_value for value in (_at(node, 1), _at(node, 4)))
    if ours is None or theirs is None:
        raise ModelError(f"node {named(node)!r}: its scales are not constants; give the float model")
    array = ours.numpy().astype(np.float32) * theirs.numpy().astype(np.float32)
    return constant(graph, f"{node.outputs[0].name}/bias/scale", np.asarray(array, np.float32))


def _refuse_other_meanings(graph: ir.Graph, node: ir.Node) -> None:
    opset = node.attributes.get_int("opset", _WITH_LAST_AXIS)
    is_older = (opset < _WITH_LAST_AXIS) != (graph.opset_imports.get("", 0) < _WITH_LAST_AXIS)
    if node.attributes.get_int("channels_last", 0) or (node.op_type == "QLinearSoftmax" and is_older):
        raise ModelError(
            f"node {named(node)!r} ({node.op_type}) has another layout than the operator of floats: quantise "
            "into the QDQ format (Q/DQ pairs around float ops), or give the float model"
        )


def _at(node: ir.Node, place: int) -> ir.Value | None:
    return node.inputs[place] if place < len(node.inputs) else None
