"""1x1 convolutions as products of matrices, for variants that quantise products alone.

A dense 1x1 convolution is a matrix product over channels. Written as one, between two Transposes, it has
quantised kernels on engines that have none for convolutions: TensorRT-RTX refuses INT8 convolutions and runs
FP8 ones in kernels of the slowest kind, but computes in NHWC inside, where the Transposes cost nothing
(1.6.1 and 1.7.1, builds of 2026-11-23).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from autoprec.graph.grids.pairs import Array, lazy_tensor
from autoprec.graph.ops.pointwise import is_pointwise

FLOAT = ir.DataType.FLOAT


class Products(NamedTuple):
    """What writing convolutions as products added, by name.

    Attributes:
        nodes: new node to the convolution that it is part of.
        values: new activation to that convolution, and the value whose range it has.
    """

    nodes: dict[str, str]
    values: dict[str, tuple[str, str]]


def write_products(model: ir.Model, names: Collection[str]) -> Products:
    """Write the 1x1 convolutions among these nodes as Transpose, MatMul, Transpose and Add, in place.

    The MatMul takes over the convolution's name, the last node its output.
    """
    products = Products({}, {})
    for node in [node for node in model.graph if node.name in names and is_pointwise(node)]:
        _write_product(model.graph, node, products)
    return products


def _write_product(graph: ir.Graph, node: ir.Node, products: Products) -> None:
    value, weight, bias = (*node.inputs, None)[:3]
    output, name = node.outputs[0], str(node.name)
    # What `is_pointwise` found.
    assert value is not None
    assert weight is not None
    assert value.shape is not None
    assert output.shape is not None
    rank = len(value.shape)
    last, first = [0, *range(2, rank), 1], [0, rank - 1, *range(1, rank - 1)]
    inputs, outputs = (ir.Shape([shape[i] for i in last]) for shape in (value.shape, output.shape))
    # Channels behind all else, since a MatMul sums the last axis.
    moved = _node("Transpose", [value], f"{name}/channels_last", inputs, perm=last)
    nodes = [moved, _node("MatMul", [moved.outputs[0], _matrix(graph, weight)], name, outputs)]
    nodes.append(
        _node("Transpose", [nodes[-1].outputs[0]], f"{name}/channels_first", output.shape, perm=first)
    )
    if bias is not None:  # behind the Transpose: ONNX Runtime (1.27) breaks a MatMul, Add between pairs
        column = _column(graph, bias, rank)
        nodes.append(_node("Add", [nodes[-1].outputs[0], column], f"{name}/bias", output.shape))
    graph.insert_after(node, nodes)
    products.nodes.update((str(new.name), name) for new in nodes)
    products.values[str(moved.outputs[0].name)] = name, str(value.name)
    take_over(output, nodes[-1].outputs[0])
    graph.remove(node, safe=True)


def take_over(old: ir.Value, new: ir.Value) -> None:
    """Put a value in another's place, under its name."""
    new.name, old.name = old.name, None
    new.type = old.type
    new.meta.update(old.meta)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def _node(
    op: str, inputs: Sequence[ir.Value], name: str, shape: ir.Shape | None, **attributes: list[int]
) -> ir.Node:
    output = ir.Value(name=f"{name}/out", shape=shape, type=ir.TensorType(FLOAT))
    return ir.node(op, inputs, attributes, outputs=[output], name=name)


def _matrix(graph: ir.Graph, weight: ir.Value) -> ir.Value:
    """Weights [outputs, inputs, 1, 1] as [inputs, outputs]."""
    assert weight.const_value is not None
    sizes = weight.const_value.shape.numpy()[:2]
    return _derived(graph, weight, "matrix", sizes[::-1], lambda array: array.reshape(sizes).T)


def _column(graph: ir.Graph, bias: ir.Value, rank: int) -> ir.Value:
    """A bias [outputs] as [outputs, 1, 1]."""
    assert bias.const_value is not None
    shape = (bias.const_value.size, *[1] * (rank - 2))
    return _derived(graph, bias, "column", shape, lambda array: array.reshape(shape))


def _derived(
    graph: ir.Graph, value: ir.Value, label: str, sizes: Sequence[int], change: Callable[[Array], Array]
) -> ir.Value:
    """An initializer with constants in another form, computed when it is read."""
    name, tensor = f"{value.name}/{label}", value.const_value
    assert tensor is not None
    if name not in graph.initializers:
        shape = ir.Shape(sizes)
        lazy = lazy_tensor(name, FLOAT, shape, lambda: np.ascontiguousarray(change(tensor.numpy())))
        initializer = ir.Value(name=name, shape=shape, type=ir.TensorType(FLOAT), const_value=lazy)
        graph.register_initializer(initializer)
    return graph.initializers[name]
