"""Which nodes a precision applies to, and which 1x1 convolutions it writes as matrix products.

`rewrite/products.py` writes such convolutions as products, and says why.
"""

from __future__ import annotations

import onnx_ir as ir

from autoprec.graph.grids.given import given
from autoprec.graph.ops.attention import attention_part
from autoprec.graph.ops.placement import block_inputs, divides, is_in_blocks, may_be_flattened
from autoprec.precisions import Precision

FLOAT = ir.DataType.FLOAT


def is_pointwise(node: ir.Node) -> bool:
    """Whether a node is a dense 1x1 convolution with stride 1, constant weights and no pair of its own."""
    if node.op_type != "Conv" or given(node) or node.attributes.get_int("group", 1) != 1:
        return False
    value, weight = node.inputs[0], node.inputs[1]
    if value is None or value.dtype != FLOAT or value.shape is None or node.outputs[0].shape is None:
        return False
    if weight is None or weight.const_value is None or weight.dtype != FLOAT:
        return False
    # A computed bias could not be reshaped to a column at rewriting.
    if len(node.inputs) > 2 and (bias := node.inputs[2]) is not None and bias.const_value is None:
        return False
    moves = [*node.attributes.get_ints("strides", [1]), *node.attributes.get_ints("dilations", [1])]
    # With strides or pads, places are dropped or added: more than a product over channels does.
    still = set(moves) == {1} and not any(node.attributes.get_ints("pads", [0]))
    return still and set(weight.const_value.shape.numpy()[2:]) == {1}


def becomes_product(node: ir.Node, precision: Precision) -> bool:
    """Whether a node is a convolution that a precision writes, and quantises, as a product of matrices."""
    if not (precision.only_products and precision.quantized_ops and is_pointwise(node)):
        return False
    value, weight = node.inputs[0], node.inputs[1]
    # What `is_pointwise` found.
    assert value is not None
    assert value.shape is not None
    assert weight is not None
    assert weight.const_value is not None
    inner, size = weight.const_value.shape.numpy()[1], precision.block_size
    return not size or (divides(inner, size) and may_be_flattened(value.shape))


def is_about(precision: Precision, node: ir.Node) -> bool:
    """Whether a precision types a node: a quantised one types only the ops that it quantises."""
    if not precision.is_quantized or becomes_product(node, precision):
        return True
    if node.op_type not in precision.quantized_ops:
        return False
    if precision.float_products and attention_part(node) in precision.float_products:
        return False
    # A pair that came with the model is put back whatever our own placement would choose.
    if given(node) or not precision.needs_weights:
        return True
    size = precision.block_size
    return bool(block_inputs(node, size)) if precision.weights_only else is_in_blocks(node, size)
