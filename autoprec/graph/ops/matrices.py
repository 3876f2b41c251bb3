"""The weights of convolutions and products in one form, [groups, outputs, inputs, taps].

Scaling channels and rounding weights are the same arithmetic for all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]


def activation_axis(node: ir.Node) -> int:
    """The axis of a weighted op's activations that holds channels."""
    return 1 if node.op_type in ("Conv", "ConvTranspose") else -1


def is_weighted(node: ir.Node) -> bool:
    """Whether a node multiplies one activation by constant weights that have the form of this module."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.inputs) < 2:
        return False
    value, weight = node.inputs[0], node.inputs[1]
    if value is None or value.const_value is not None or value.dtype != ir.DataType.FLOAT:
        return False
    if weight is None or weight.const_value is None or weight.dtype != ir.DataType.FLOAT:
        return False
    # A turned activation has its channels in front: no axis of this module would be the right one.
    if node.op_type == "Gemm" and node.attributes.get_int("transA", False):
        return False
    return node.op_type != "MatMul" or len(weight.const_value.shape) == 2


def matrices(node: ir.Node, weight: Array) -> Array:
    """Weights as [groups, outputs, inputs, taps]; outputs and inputs are those of one group."""
    if node.op_type in ("Conv", "ConvTranspose"):
        groups = node.attributes.get_int("group", 1)
        split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        return split if node.op_type == "Conv" else split.transpose(0, 2, 1, 3)
    matrix = weight if node.op_type == "Gemm" and node.attributes.get_int("transB", False) else weight.T
    return matrix[None, :, :, None]


def restored(node: ir.Node, stack: Array, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The inverse of `matrices`: weights in the operator's own layout, float32 of that shape."""
    if node.op_type == "ConvTranspose":
        stack = stack.transpose(0, 2, 1, 3)
    elif node.op_type in ("Gemm", "MatMul"):
        transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", False)
        stack = stack[0, :, :, 0] if transposed else stack[0, :, :, 0].T
    return np.ascontiguousarray(stack.reshape(shape), np.float32)


def by_input(stack: Array, vector: Array) -> Array:
    """A vector over all input channels, in the form of `stack`."""
    return vector.reshape(stack.shape[0], 1, stack.shape[2], 1)


def by_output(stack: Array, vector: Array) -> Array:
    """A vector over all output channels, in the form of `stack`."""
    return vector.reshape(stack.shape[0], stack.shape[1], 1, 1)
