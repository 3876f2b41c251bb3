"""The ways in which operators are used that decide whether an engine takes a precision.

Owns the table of patterns, a small graph for each (`probe.py` builds them), and the rule that says which
pattern a model's node is. The graphs are typed as candidates are: Casts at the borders, Q/DQ in front of the
operator, weights stored quantised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx_ir as ir

from autoprec.precisions import Precision

CHANNELS, SIZE, TOKENS, HEADS = 64, 16, 64, 2
OPSET = 22  # as the rewriter's: types that the parser refuses depend on what ONNX allows


class TypedGraph:
    """A graph under construction, whose tensors have the types of one precision.

    Args:
        precision: what the pattern is typed in.
        base: float type around a quantised operator.
        widened: op types that compute in FLOAT between Casts.
    """

    def __init__(self, precision: Precision, base: ir.DataType, widened: Container[str] = ()) -> None:
        self.precision = precision
        self._widened = widened
        self.float_type = precision.float_type or base
        self._inputs: list[ir.Value] = []
        self._constants: list[ir.Value] = []
        self._nodes: list[ir.Node] = []
        self._random = np.random.default_rng(0)

    def input(self, *shape: int) -> ir.Value:
        """A float32 input of the graph, cast to the float type."""
        name = f"x{len(self._inputs)}"
        self._inputs.append(_value(name, ir.DataType.FLOAT, shape))
        return self._cast(self._inputs[-1], self.float_type)

    def constant(self, array: Any, dtype: ir.DataType) -> ir.Value:
        """An initializer of the given type."""
        name = f"c{len(self._constants)}"
        tensor = ir.tensor(np.asarray(array).astype(dtype.numpy()), dtype=dtype, name=name)
        self._constants.append(_value(name, dtype, tuple(tensor.shape), tensor))
        return self._constants[-1]

    def parameter(self, *shape: int) -> ir.Value:
        """Random parameters of the float type."""
        return self.constant(0.1 * self._random.standard_normal(shape), self.float_type)

    def weight(self, *shape: int, axis: int) -> ir.Value:
        """Random weights; quantised per channel along `axis`, or in blocks along a matrix's other axis."""
        precision = self.precision
        if precision.quantized_type is None:
            return self.parameter(*shape)
        grid = np.rint(self._random.uniform(-precision.largest, precision.largest, shape))
        size = precision.block_size
        scales = tuple(n if i == axis else n // size for i, n in enumerate(shape)) if size else (shape[axis],)
        where: dict[str, Any] = {"axis": 1 - axis, "block_size": size} if size else {"axis": axis}
        stored = self.constant(grid, precision.quantized_type)
        scale = self.constant(np.full(scales, 0.2 / precision.largest), self.float_type)
        zero = self.constant(np.zeros(scales), precision.quantized_type)
        return self.add("DequantizeLinear", stored, scale, zero, **where)

    def activation(self, value: ir.Value) -> ir.Value:
        """`value` through a Q/DQ pair with one scale, where the precision quantises activations."""
        precision = self.precision
        if precision.quantized_type is None or precision.weights_only:
            return value
        scale = self.constant(4 / precision.largest, self.float_type)
        zero = self.constant(0, precision.quantized_type)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", value, scale, zero), scale, zero)

    def add(self, op: str, *inputs: ir.Value | None, name: str = "", **attributes: Any) -> ir.Value:
        """One node, and its only output."""
        if op in self._widened and self.float_type != ir.DataType.FLOAT:
            inputs = tuple(None if v is None else self._cast(v, ir.DataType.FLOAT) for v in inputs)
            return self._cast(self._node(op, inputs, name, attributes), self.float_type)
        return self._node(op, inputs, name, attributes)

    def _node(
        self, op: str, inputs: Sequence[ir.Value | None], name: str, attributes: Mapping[str, Any]
    ) -> ir.Value:
        number = len(self._nodes)
        self._nodes.append(ir.node(op, inputs, attributes, name=name or f"{op}_{number}"))
        output = self._nodes[-1].outputs[0]
        output.name = f"v{number}"
        return output

    def model(self, result: ir.Value) -> onnx.ModelProto:
        """The finished model, its output `y` cast to float32."""
        result = self._cast(result, ir.DataType.FLOAT)
        result.name, result.type = "y", ir.TensorType(ir.DataType.FLOAT)
        graph = ir.Graph(
            self._inputs, [result], nodes=self._nodes, initializers=self._constants,
            opset_imports={"": OPSET}, name="probe",
        )  # fmt: skip
        return ir.to_proto(ir.Model(graph, ir_version=10))

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """A border of the graph as `dtype`; nothing to do in a graph that is float32 throughout."""
        if self.float_type == ir.DataType.FLOAT:
            return value
        return self.add("Cast", value, to=int(dtype))


def _value(
    name: str, dtype: ir.DataType, shape: tuple[Any, ...], const: ir.TensorProtocol | None = None
) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape), const_value=const)


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
DECIDING_NODES = frozenset({"op", "op2"})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operator types that an engine has quantised kernels for; around others Q/DQ only rounds."""

_CARRIERS = frozenset({"Cast", "Identity", "Transpose", "QuantizeLinear", "DequantizeLinear"})
_BY_OP_TYPE = {
    "ConvTranspose": "conv_transpose", "Gemm": "gemm", "Add": "add", "LayerNormalization": "layer_norm",
    "Softmax": "softmax", "HardSwish": "hard_swish", "Gelu": "gelu", "Resize": "resize",
}  # fmt: skip


def typed_model(
    pattern: str, precision: Precision, base: Precision, widened: Iterable[tuple[str, str]] = ()
) -> onnx.ModelProto:
    """The pattern's graph, float32 at its borders.

    `base` types what `precision` leaves open, and all of a pattern that `precision` does not quantise;
    `widened` are (op type, float precision) that compute in FP32 between Casts.
    """
    assert base.float_type is not None
    chosen = PATTERNS[pattern]
    quantises = chosen.op_type in precision.quantized_ops
    own = precision if quantises or not precision.is_quantized else base
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
