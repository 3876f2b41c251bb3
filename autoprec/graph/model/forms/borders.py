"""Levels that no pair encloses, written in floats: at a model's borders, and clipped within a pair.

What a tool has quantised through and through takes and gives integers. Brevitas writes what has fewer than 8
bits as QCDQ: levels are clipped before they are dequantised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.model.passing import constant, named, placed, replace

_ROUND = 11
"""The first opset that has Round."""


def without_bare_levels(graph: ir.Graph) -> bool:
    """Write such levels in floats, in place; returns whether there were any. `incoming` refuses what is left.
    The graph is sorted, and scales and zero points are constants.
    """
    changed = [
        (node.op_type == "Clip" and _clipped(graph, node))
        or (node.op_type == "DequantizeLinear" and _from_input(graph, node))
        or (node.op_type == "QuantizeLinear" and _to_output(graph, node))
        for node in list(graph)
    ]
    return any(changed)


def _clipped(graph: ir.Graph, node: ir.Node) -> bool:
    """A Clip between the ends of pairs: of stored levels if what is quantised is constant, else of floats."""
    levels = node.inputs[0]
    quantizer = None if levels is None else levels.producer()
    readers = [use.node for use in node.outputs[0].uses()]
    ends = [_array(node, 1), _array(node, 2)]
    if (
        quantizer is None
        or quantizer.op_type != "QuantizeLinear"
        or any(reader.op_type != "DequantizeLinear" for reader in readers)
        or node.outputs[0].is_graph_output()
        or None in ends
    ):
        return False
    grid = _grid(quantizer)
    value = quantizer.inputs[0]
    if grid is None or value is None:
        return False
    scale, zero, kind = grid
    low, high = (int(np.asarray(end).item()) for end in ends)
    if value.const_value is not None:
        moved = np.rint(value.const_value.numpy() / scale) + zero
        stored = np.clip(moved, max(low, kind.min), min(high, kind.max)).astype(kind.numpy())
        ir.convenience.replace_all_uses_with(
            node.outputs[0], constant(graph, f"{node.outputs[0].name}/stored", stored)
        )
        graph.remove(node, safe=True)
        return True
    # What is clipped between levels is clipped behind them, at what those levels stand for.
    for reader in readers:
        reader.replace_input_with(0, levels)
        _limit(graph, reader, [((end - zero) * scale).astype(np.float32) for end in (low, high)])
    graph.remove(node, safe=True)
    return True


def _limit(graph: ir.Graph, node: ir.Node, limits: list[NDArray[Any]]) -> None:
    """Max and Min behind a node."""
    output, stem = node.outputs[0], node.outputs[0].name
    kind = output.dtype or ir.DataType.FLOAT
    low, high = (
        constant(graph, f"{stem}/{end}", limit.astype(kind.numpy()))
        for end, limit in zip(("low", "high"), limits, strict=True)
    )
    raised = ir.node("Max", [None, low], name=f"{named(node)}/Max")
    clipped = ir.node("Min", [raised.outputs[0], high], name=f"{named(node)}/Min")
    for each in (raised, clipped):
        each.outputs[0].type, each.outputs[0].shape = output.type, output.shape
    raised.outputs[0].name, clipped.outputs[0].name = f"{stem}/raised", f"{stem}/clipped"
    ir.convenience.replace_all_uses_with(output, clipped.outputs[0], replace_graph_outputs=True)
    clipped.outputs[0].name, output.name = stem, f"{stem}/unclipped"
    raised.replace_input_with(0, output)
    graph.insert_after(node, [raised, clipped])


def _from_input(graph: ir.Graph, node: ir.Node) -> bool:
    """A DequantizeLinear of an input of the model: (x - zero) scale."""
    levels, grid = node.inputs[0], _grid(node)
    if levels is None or levels.producer() is not None or levels.const_value is not None or grid is None:
        return False
    scale, zero, _ = grid
    stem, kind = node.outputs[0].name, ir.DataType.FLOAT if (one := node.inputs[1]) is None else one.dtype
    assert kind is not None
    floats = ir.node("Cast", [levels], {"to": kind}, name=f"{named(node)}/Cast")
    shift = constant(graph, f"{stem}/zero", zero.astype(kind.numpy()))
    moved = ir.node("Sub", [floats.outputs[0], shift], name=f"{named(node)}/Sub")
    scaled = ir.node(
        "Mul",
        [moved.outputs[0], constant(graph, f"{stem}/scale", scale.astype(kind.numpy()))],
        name=node.name,
    )
    floats.outputs[0].name, moved.outputs[0].name = f"{stem}/cast", f"{stem}/moved"
    replace(graph, node, [floats, moved, scaled])
    return True


def _to_output(graph: ir.Graph, node: ir.Node) -> bool:
    """A QuantizeLinear into an output of the model; values beyond the levels become the last one."""
    output, value, grid = node.outputs[0], node.inputs[0], _grid(node)
    is_last = output.is_graph_output() and not output.uses()
    if not is_last or value is None or grid is None or graph.opset_imports.get("", 0) < _ROUND:
        return False
    scale, zero, kind = grid
    stem, name = output.name, named(node)
    arrays = {"Div": scale, "Add": zero, "Max": np.array(kind.min), "Min": np.array(kind.max)}
    held = {op: constant(graph, f"{stem}/{op}", array.astype(np.float32)) for op, array in arrays.items()}
    nodes: list[ir.Node] = []
    # Rounded before the zero point is added: ties go to even levels,
    # and an odd zero point would turn them round.
    for op in ("Div", "Round", "Add", "Max", "Min"):
        nodes.append(ir.node(op, [value, held[op]] if op in held else [value], name=f"{name}/{op}"))
        value = nodes[-1].outputs[0]
        value.name = f"{stem}/{op}/floats"
    replace(graph, node, [*nodes, ir.node("Cast", [value], {"to": kind}, name=node.name)])
    return True


def _grid(node: ir.Node) -> tuple[NDArray[Any], NDArray[Any], ir.DataType] | None:
    """Scale and zero point of a Q or DQ node, shaped to fit its value, and the type of its levels; None
    unless they are constants, of integers, and of a value of known rank."""
    scale, zero = _array(node, 1), _array(node, 2)
    kind = _kind(node)
    if scale is None or not kind.is_integer() or node.attributes.get_int("block_size", False):
        return None
    zero = np.zeros(scale.shape) if zero is None else zero.astype(np.float64)
    if scale.size == 1:
        return scale.reshape(()), zero.reshape(()), kind
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is None:
        return None
    axis = placed(int(node.attributes.get_int("axis", 1) or 0), len(shape))
    form = tuple(-1 if place == axis else 1 for place in range(len(shape)))
    return scale.reshape(form), zero.reshape(form), kind


def _kind(node: ir.Node) -> ir.DataType:
    """The type of the levels: that of the zero point, of the stored levels, or ONNX's default."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if zero is not None and zero.dtype is not None:
        return zero.dtype
    read = node.inputs[0] if node.op_type == "DequantizeLinear" else None
    if read is not None and read.dtype is not None:
        return read.dtype
    return ir.DataType(node.attributes.get_int("output_dtype", False) or ir.DataType.UINT8)


def _array(node: ir.Node, place: int) -> NDArray[Any] | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    return None if value is None or value.const_value is None else value.const_value.numpy()
