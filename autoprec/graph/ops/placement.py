"""Where Q/DQ goes: which inputs of which nodes.

Source: TensorRT documentation, "Explicit Quantization", layer placement: both inputs of a weighted op, the
skip operand of a residual Add, never bias, norms, Softmax or activations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir

from autoprec.graph.ops.attention import attention_part
from autoprec.graph.ops.matrices import is_weighted
from autoprec.precisions import Precision

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def places(node: ir.Node, precision: Precision, ranges: Mapping[str, float]) -> tuple[int, ...]:
    """Places of the inputs that get Q/DQ in a precision, or of the weights that are stored behind DQ."""
    if node.op_type not in precision.quantized_ops:
        return ()
    if precision.float_products and attention_part(node) in precision.float_products:
        return ()
    if precision.weights_only:
        return block_inputs(node, precision.block_size)
    if precision.block_size and not is_in_blocks(node, precision.block_size):
        return ()
    return quantized_inputs(node, ranges)


def quantized_inputs(node: ir.Node, ranges: Mapping[str, float]) -> tuple[int, ...]:
    """Places of the inputs that get Q/DQ; none if one of them has no range: half a pair runs dequantised."""
    if node.op_type in _WEIGHTED:
        places: tuple[int, ...] = (0, 1)
    # A pair on the skip lets the convolution before the Add take the Add in, and give integers. On the branch
    # it would stand between the two, and neither would fuse.
    elif node.op_type == "Add":
        places = _skip_operand(node)
    else:
        return ()
    for place in places:
        value = node.inputs[place]
        if value is None or value.dtype != ir.DataType.FLOAT:
            return ()
        if value.const_value is None and not ranges.get(str(value.name), 0.0) > 0:
            return ()
    return places


def may_be_quantized(node: ir.Node) -> bool:
    """Whether a node gets Q/DQ once its activations have ranges."""
    return bool(quantized_inputs(node, {str(v.name): math.inf for v in node.inputs if v is not None}))


def block_inputs(node: ir.Node, size: int) -> tuple[int, ...]:
    """Places of the weights that can be stored in blocks of `size` along the reduced axis, behind DQ alone.

    A size of 0 makes one block of the whole axis. Any other has to give several: TensorRT-RTX 1.7 dequantises
    a column of a single block ahead of the product, in an extra kernel.
    """
    return tuple(place for place, value in enumerate(node.inputs[:2]) if _fits(node, value, size))


def is_in_blocks(node: ir.Node, size: int) -> bool:
    """Whether a node multiplies an activation by a matrix of weights that divides into blocks of `size`."""
    value = node.inputs[0] if node.inputs else None
    if not is_weighted(node) or value is None or value.shape is None or len(value.shape) < 2:
        return False
    return may_be_flattened(value.shape) and block_inputs(node, size) == (1,)


def may_be_flattened(shape: ir.Shape) -> bool:
    """Whether an activation can be reshaped to two axes and back: a Reshape restores one unknown length."""
    return sum(not isinstance(length, int) for length in shape) <= 1


def channel_axis(node: ir.Node, weight: ir.Value) -> int | None:
    """The axis of a weight that has one scale for each output channel; None for one scale."""
    rank = len(weight.shape or ())
    if node.op_type == "Conv":
        return 0
    # Its weights are [inputs, outputs / groups, ...]: in groups, one axis holds the outputs of all of them
    # mixed.
    if node.op_type == "ConvTranspose":
        return 1 if node.attributes.get_int("group", 1) == 1 else None
    if rank != 2:
        return None
    left = weight is node.inputs[0]
    transposed = bool(node.attributes.get_int("transA" if left else "transB", 0))
    return int(left == transposed)


def _fits(node: ir.Node, value: ir.Value | None, size: int) -> bool:
    """Whether a value is a matrix of weights whose rows or columns divide into blocks."""
    if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
        return False
    axis, shape = channel_axis(node, value), value.const_value.shape.numpy()
    if axis is None or len(shape) != 2:
        return False
    return not size or divides(shape[1 - axis], size)


def divides(length: int, size: int) -> bool:
    """Whether an axis divides into several blocks."""
    return length > size and length % size == 0


def _skip_operand(node: ir.Node) -> tuple[int, ...]:
    """The identity operand of a residual Add: the branch ends in a weighted op, the skip does not."""
    values = [node.inputs[0], node.inputs[1]]
    if any(value is None or value.const_value is not None for value in values):
        return ()
    branches = [value is not None and _ends_in_weighted(value) for value in values]
    # With two branches, or none, neither operand is an identity.
    if branches.count(True) != 1:
        return ()
    return (branches.index(False),)


def _ends_in_weighted(value: ir.Value) -> bool:
    """Whether a value is what only this Add takes from a weighted op."""
    producer = value.producer()
    return producer is not None and producer.op_type in _WEIGHTED and len(value.uses()) == 1
