"""The ways in which operators are used that decide whether an engine takes a precision.

Owns the table of patterns, a small graph for each (`probe.py` builds them), and the rule that says which
pattern a model's node is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import msgspec
import numpy as np
import onnx
import onnx_ir as ir

from autoprec.legality.typed_graph import TypedGraph
from autoprec.precisions import Precision

CHANNELS, SIZE, TOKENS, HEADS = 64, 16, 64, 2


def _conv(graph: TypedGraph, channels: int = CHANNELS, kernel: int = 3, group: int = 1) -> ir.Value:
    x = graph.activation(graph.input(1, channels, SIZE, SIZE))
    w = graph.weight(CHANNELS, channels // group, kernel, kernel, axis=0)
    return graph.add("Conv", x, w, graph.parameter(CHANNELS), name="op", group=group, pads=[kernel // 2] * 4)


def _conv_transpose(graph: TypedGraph) -> ir.Value:
    x = graph.activation(graph.input(1, CHANNELS, SIZE, SIZE))
    w = graph.weight(CHANNELS, CHANNELS, 2, 2, axis=1)
    return graph.add("ConvTranspose", x, w, graph.parameter(CHANNELS), name="op", strides=[2, 2])


def _gemm(graph: TypedGraph) -> ir.Value:
    x = graph.activation(graph.input(TOKENS, CHANNELS))
    w = graph.weight(CHANNELS, CHANNELS, axis=0)
    return graph.add("Gemm", x, w, graph.parameter(CHANNELS), name="op", transB=1)


def _matmul_weight(graph: TypedGraph) -> ir.Value:
    x = graph.activation(graph.input(1, TOKENS, CHANNELS))
    return graph.add("MatMul", x, graph.weight(CHANNELS, CHANNELS, axis=1), name="op")


def _matmul(graph: TypedGraph) -> ir.Value:
    a, b = (graph.activation(graph.input(1, HEADS, TOKENS, TOKENS)) for _ in range(2))
    return graph.add("MatMul", a, b, name="op")


def _attention(graph: TypedGraph) -> ir.Value:
    q, k, v = (graph.activation(graph.input(1, HEADS, TOKENS, TOKENS)) for _ in range(3))
    k = graph.add("Transpose", k, perm=[0, 1, 3, 2])
    weights = graph.add("Softmax", graph.add("MatMul", q, k, name="op"), axis=-1)
    return graph.add("MatMul", graph.activation(weights), v, name="op2")


def _relu_linear_attention(graph: TypedGraph) -> ir.Value:
    """EfficientViT's: V with a row of ones, times K^T, times Q; the row divides the rest."""
    q, k, v = (graph.input(1, HEADS, CHANNELS, TOKENS) for _ in range(3))
    q, k = graph.add("Relu", q), graph.add("Relu", k)
    v = graph.add("Concat", v, graph.constant(np.ones((1, HEADS, 1, TOKENS)), graph.float_type), axis=2)
    k = graph.add("Transpose", graph.activation(k), perm=[0, 1, 3, 2])
    vk = graph.add("MatMul", graph.activation(v), k, name="op")
    out = graph.add("MatMul", graph.activation(vk), graph.activation(q), name="op2")
    rows = [graph.constant([n], ir.DataType.INT64) for n in (0, CHANNELS, CHANNELS + 1, 2)]
    top = graph.add("Slice", out, rows[0], rows[1], rows[3])
    bottom = graph.add("Slice", out, rows[1], rows[2], rows[3])
    return graph.add("Div", top, graph.add("Add", bottom, graph.constant(1e-3, graph.float_type)))


def _add(graph: TypedGraph) -> ir.Value:
    a, b = (graph.activation(graph.input(1, CHANNELS, SIZE, SIZE)) for _ in range(2))
    return graph.add("Add", a, b, name="op")


def _layer_norm(graph: TypedGraph) -> ir.Value:
    x, scale, bias = graph.input(1, TOKENS, CHANNELS), graph.parameter(CHANNELS), graph.parameter(CHANNELS)
    return graph.add("LayerNormalization", x, scale, bias, name="op")


def _resize(graph: TypedGraph) -> ir.Value:
    scales = graph.constant([1, 1, 2, 2], ir.DataType.FLOAT)
    return graph.add("Resize", graph.input(1, CHANNELS, SIZE, SIZE), None, scales, name="op", mode="linear")


def _unary(op: str) -> Callable[[TypedGraph], ir.Value]:
    return lambda graph: graph.add(op, graph.input(1, TOKENS, CHANNELS), name="op")


class Pattern(msgspec.Struct, frozen=True):
    """An operator type, and what adds it to a graph; the nodes that decide are called `op` and `op2`."""

    op_type: str
    make: Callable[[TypedGraph], ir.Value]


PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {
        "conv": Pattern("Conv", _conv),
        "conv_1x1": Pattern("Conv", lambda graph: _conv(graph, kernel=1)),
        "conv_stem": Pattern("Conv", lambda graph: _conv(graph, channels=3)),
        "conv_depthwise": Pattern("Conv", lambda graph: _conv(graph, group=CHANNELS)),
        "conv_grouped": Pattern("Conv", lambda graph: _conv(graph, group=4)),
        "conv_grouped_1x1": Pattern("Conv", lambda graph: _conv(graph, kernel=1, group=4)),
        "conv_transpose": Pattern("ConvTranspose", _conv_transpose),
        "gemm": Pattern("Gemm", _gemm),
        "matmul_weight": Pattern("MatMul", _matmul_weight),
        "matmul": Pattern("MatMul", _matmul),
        "attention": Pattern("MatMul", _attention),
        "relu_linear_attention": Pattern("MatMul", _relu_linear_attention),
        "add": Pattern("Add", _add),
        "layer_norm": Pattern("LayerNormalization", _layer_norm),
        "softmax": Pattern("Softmax", _unary("Softmax")),
        "hard_swish": Pattern("HardSwish", _unary("HardSwish")),
        "gelu": Pattern("Gelu", _unary("Gelu")),
        "resize": Pattern("Resize", _resize),
    }
)
ACTIVATIONS = frozenset({"matmul", "attention", "relu_linear_attention"})
"""Patterns whose products have no weights."""
DECIDING_NODES = frozenset({"op", "op2"})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operator types that an engine has quantised kernels for; around others Q/DQ only rounds."""

_CARRIERS = frozenset({"Cast", "Identity", "Transpose", "QuantizeLinear", "DequantizeLinear"})
_BY_OP_TYPE = {
    "ConvTranspose": "conv_transpose", "Gemm": "gemm", "Add": "add", "LayerNormalization": "layer_norm",
    "Softmax": "softmax", "HardSwish": "hard_swish", "Gelu": "gelu", "Resize": "resize",
}  # fmt: skip


def quantises(precision: Precision, pattern: str) -> bool:
    """Whether a precision quantises a pattern, or leaves it in floats."""
    if PATTERNS[pattern].op_type not in precision.quantized_ops:
        return False
    return not (precision.needs_weights and pattern in ACTIVATIONS)


def typed_model(
    pattern: str, precision: Precision, base: Precision, widened: Iterable[tuple[str, str]] = ()
) -> onnx.ModelProto:
    """The pattern's graph, float32 at its borders.

    `base` types what `precision` leaves open, and all of a pattern that `precision` does not quantise;
    `widened` are (op type, float precision) that compute in FP32 between Casts.
    """
    assert base.float_type is not None
    chosen = PATTERNS[pattern]
    own = precision if quantises(precision, pattern) or not precision.is_quantized else base
    floats = base.name if own.float_type is None else own.name
    graph = TypedGraph(own, base.float_type, [op for op, name in widened if name == floats])
    return graph.model(chosen.make(graph))


def node_patterns(model: ir.Model) -> dict[str, str]:
    """Which pattern each node is, by node name; other nodes are left out."""
    found = ((node.name or "", _pattern_of(node)) for node in model.graph)
    return {name: pattern for name, pattern in found if pattern}


def _pattern_of(node: ir.Node) -> str:
    if node.op_type == "MatMul":
        return "matmul_weight" if any(map(_stored, node.inputs)) else "matmul"
    if node.op_type == "Conv":
        weight = _stored(node.inputs[1])
        if weight is None or weight.shape is None:
            return "conv"
        group = node.attributes.get_int("group", 1)
        outputs, inputs, *kernel = (int(n) for n in weight.shape.numpy())
        narrow = "_1x1" if set(kernel) == {1} else ""
        if group == 1:
            return "conv_stem" if inputs < 16 else f"conv{narrow}"
        return "conv_depthwise" if inputs == 1 and outputs >= group else f"conv_grouped{narrow}"
    return _BY_OP_TYPE.get(node.op_type, "")


def _stored(value: ir.Value | None) -> ir.Value | None:
    """The constant that `value` comes from by casts, copies or Q/DQ; None if it is computed."""
    if value is None or value.is_initializer():
        return value
    node = value.producer()
    if node is None or node.op_type not in _CARRIERS:
        return value if node is not None and node.op_type == "Constant" else None
    return _stored(node.inputs[0])


def block_patterns(
    nodes: Iterable[str], patterns: Mapping[str, str], op_types: Iterable[str]
) -> Counter[str]:
    """The patterns of a block: those of its nodes, and the attention that they make together.

    Args:
        nodes: names of the block's nodes.
        patterns: as from `node_patterns`.
        op_types: operator types in the block.
    """
    found = Counter(patterns[node] for node in nodes if node in patterns)
    types = frozenset(op_types)
    if found["matmul"] >= 2 and "Softmax" in types:
        found["attention"] = 1
    elif found["matmul"] >= 2 and {"Relu", "Div"} <= types:
        found["relu_linear_attention"] = 1
    return +found
