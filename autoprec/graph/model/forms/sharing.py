"""Weights that operators read in different layouts: a copy for each layout.

OpenVINO (2026.4.1) keeps one rearranged copy of a constant and gives it to every operator that reads it, also
where one multiplies by it and the other by what it is turned.
"""

from __future__ import annotations

from typing import NamedTuple

import onnx_ir as ir

from autoprec.graph.grids.pairs import lazy_tensor


class _Use(NamedTuple):
    """One input of one operator."""

    node: ir.Node
    place: int


_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def apart(graph: ir.Graph) -> None:
    """Give operators that read one weight in different layouts initializers of their own, in place."""
    for name, value in list(graph.initializers.items()):
        layouts: dict[tuple[str | int, ...], list[_Use]] = {}
        for node, place in value.uses():
            if node.op_type in _WEIGHTED and place < 2:
                layouts.setdefault(_layout(node, place), []).append(_Use(node, place))
        for number, uses in enumerate(list(layouts.values())[1:], 1):
            copy = _copied(graph, value, f"{name}/copy{number}")
            for use in uses:
                use.node.replace_input_with(use.place, copy)


def _layout(node: ir.Node, place: int) -> tuple[str | int, ...]:
    """How an operator reads a weight; MatMul as Gemm without a turn."""
    if node.op_type in ("MatMul", "Gemm"):
        return "Gemm", place, node.attributes.get_int("transB" if place else "transA", 0)
    return node.op_type, node.attributes.get_int("group", 1)


def _copied(graph: ir.Graph, value: ir.Value, name: str) -> ir.Value:
    tensor = value.const_value
    assert tensor is not None
    while name in graph.initializers:
        name += "_"
    # Written twice, in memory once.
    copy = lazy_tensor(name, tensor.dtype, tensor.shape, tensor.numpy)
    kind, shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
    duplicate = ir.Value(name=name, shape=shape, type=kind, const_value=copy)
    graph.register_initializer(duplicate)
    return duplicate
