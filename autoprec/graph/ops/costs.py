"""What nodes cost: multiply-accumulates and weights, from inferred shapes."""

from __future__ import annotations

import math

import onnx_ir as ir

COSTLY_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Attention"})
"""Ops that multiply and accumulate: their kernels decide what a block runs in."""
SQUARING_OPS = frozenset({"RMSNormalization"})
"""Ops that square, sum and scale: their kernels decide where a block has no costly one."""


def macs(node: ir.Node) -> int:
    """Multiply-accumulates of one node in one inference.

    0 for ops that have none, and where shapes are unknown.
    """
    if not (node.inputs and node.outputs):  # in a damaged file
        return 0
    if node.op_type in SQUARING_OPS:
        # Each value is squared, and then scaled.
        return 2 * math.prod(_sizes(node.inputs[0]) or (0,))
    if node.op_type not in COSTLY_OPS:
        return 0
    output, first = _sizes(node.outputs[0]), _sizes(node.inputs[0])
    weight = _sizes(node.inputs[1]) if len(node.inputs) > 1 else None
    if output is None or first is None or weight is None:
        return 0
    if node.op_type == "Conv":
        return math.prod(output) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        # Each value that is read meets a whole kernel; of a Conv, each value that is made does.
        return math.prod(first) * math.prod(weight[1:])
    if node.op_type == "Attention":
        return (math.prod(first) + math.prod(output)) * (weight[-2] + _keys_before(node))
    if node.op_type == "Einsum":
        return _of_einsum(node, first, weight, output)
    # The summed length is the first operand's last axis, unless a Gemm turns it.
    transposed = node.op_type == "Gemm" and node.attributes.get_int("transA", False)
    return math.prod(output) * first[-2 if transposed else -1]


def _keys_before(node: ir.Node) -> int:
    """How many keys come from the cache (`past_key`), besides those of this call."""
    before = _sizes(node.inputs[4]) if len(node.inputs) > 4 else None
    return before[-2] if before else 0


def _of_einsum(
    node: ir.Node, first: tuple[int, ...], second: tuple[int, ...], output: tuple[int, ...]
) -> int:
    """The product of all indices; an ellipsis stands for what is left of a shape."""
    equation = node.attributes["equation"].as_string().replace(" ", "")
    sizes: dict[str, int] = {}
    for term, shape in zip(equation.replace("->", ",").split(","), (first, second, output), strict=False):
        before, dots, after = term.partition("...")
        sizes |= dict(zip(before, shape, strict=False))
        if dots:
            inner = shape[len(before) : len(shape) - len(after)]
            sizes["..."] = max(sizes.get("...", 1), math.prod(inner))
            sizes |= dict(zip(after, shape[len(shape) - len(after) :], strict=True))
    return math.prod(sizes.values())


def is_depthwise(node: ir.Node) -> bool:
    """Whether a node is a convolution with as many groups as channels."""
    if node.op_type != "Conv":
        return False
    groups, weight = node.attributes.get_int("group", 1), _sizes(node.inputs[1])
    return groups > 1 and weight is not None and weight[1] == 1


def constants(node: ir.Node) -> list[ir.Value]:
    """Initializers that a node reads."""
    return [value for value in node.inputs if value is not None and value.is_initializer()]


def _sizes(value: ir.Value | None) -> tuple[int, ...] | None:
    """A static shape, or None."""
    shape = value.shape if value is not None else None
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return tuple(int(str(size)) for size in shape)
