"""Constants beyond FP16 that a model need not have: those of a batch normalisation behind a convolution.

Where a convolution's results are in the ten thousands, the variance behind it is in the hundred millions,
infinite in FP16, and masks are lost without a NaN. Both are scaled down by powers of two here: exact, but for
the norm's epsilon, whose rounding is that of FP32.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

LARGEST = 32768.0
"""Half of what FP16 holds."""


def tame(graph: ir.Graph) -> None:
    """Scale convolutions whose batch normalisation has constants beyond `LARGEST`."""
    for node in graph:
        if node.op_type == "BatchNormalization" and (maker := _convolution(node)) is not None:
            mean, variance = _array(node, 3), _array(node, 4)
            if max(np.abs(mean).max(), variance.max()) <= LARGEST:
                continue
            epsilon = node.attributes.get_float("epsilon", 1e-5)
            # Powers of two: products with them are exact in any float type.
            down = np.exp2(-np.round(np.log2(np.sqrt(variance + epsilon))))
            _replace(graph, node, 3, mean * down)
            _replace(graph, node, 4, (variance + epsilon) * down**2 - epsilon)
            weights = _array(maker, 1)
            _replace(graph, maker, 1, weights * down.reshape(-1, *[1] * (weights.ndim - 1)))
            if len(maker.inputs) > 2 and maker.inputs[2] is not None:
                _replace(graph, maker, 2, _array(maker, 2) * down)


def _convolution(node: ir.Node) -> ir.Node | None:
    """The Conv that only this norm reads, if all constants of both are known floats."""
    value = node.inputs[0]
    maker = None if value is None else value.producer()
    if maker is None or maker.op_type != "Conv" or value is None or value.is_graph_output():
        return None
    constants = [one for one in (*node.inputs[1:], *maker.inputs[1:]) if one is not None]
    is_constant = all(one.const_value is not None and one.dtype == ir.DataType.FLOAT for one in constants)
    return maker if is_constant and len(value.uses()) == 1 else None


def _array(node: ir.Node, place: int) -> NDArray[np.float64]:
    value = node.inputs[place]
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)


def _replace(graph: ir.Graph, node: ir.Node, place: int, array: NDArray[np.float64]) -> None:
    """A constant of its own for one input: the old one may have other readers."""
    old = node.inputs[place]
    assert old is not None
    tensor = ir.tensor(array.astype(np.float32), name=f"{old.name}/tamed/{node.outputs[0].name}")
    value = ir.Value(name=tensor.name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.FLOAT))
    value.const_value = tensor
    graph.register_initializer(value)
    node.replace_input_with(place, value)
    if not old.uses() and not old.is_graph_output():
        graph.initializers.pop(str(old.name), None)
