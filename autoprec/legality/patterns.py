"""The ways in which operators are used that decide whether an engine takes a precision.

Owns the table of patterns, each a small float model in ONNX's text form, and the rule that says which pattern
a model's node is. `pieces.py` writes them in a precision, with the writer that candidates come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from autoprec.graph.model.load import load_written
from autoprec.precisions import Precision

# The first opset whose convolutions take BF16: before it the file is refused, whatever the engine can do.
_HEAD = '<ir_version: 10, opset_import: ["": 22]>'
_HEAD_23 = '<ir_version: 11, opset_import: ["": 23]>'
"""Of the operators that are new there."""
_IMAGE, _TOKENS, _HEADS = "float[1,64,16,16]", "float[1,64,64]", "float[1,2,64,64]"
_CONV = "float[64,64,3,3] w, float[64] b"
_NEW_IN_23 = frozenset({"Attention", "RMSNormalization"})


class Pattern(NamedTuple):
    """A small float model; the nodes whose kernels decide are called `op` and `op2`.

    Attributes:
        op_type: the operator that it is about.
        inputs: in ONNX's text form, as `weights`, which become random constants.
        body: makes `y`.
    """

    op_type: str
    inputs: str
    weights: str
    body: str

    @property
    def text(self) -> str:
        """The model in ONNX's text form, its weights as values without a maker."""
        weights = f"<{self.weights}>" if self.weights else ""
        head = _HEAD_23 if self.op_type in _NEW_IN_23 else _HEAD
        return f"{head} probe ({self.inputs}) => (float[] y) {weights} {{ {self.body} }}"


def _conv(weights: str, attributes: str = "pads = [1, 1, 1, 1]", channels: int = 64) -> Pattern:
    body = f"[op] y = Conv<{attributes}>(x, w, b)"
    return Pattern("Conv", f"float[1,{channels},16,16] x", f"{weights}, float[64] b", body)


def _behind(body: str, weights: str) -> Pattern:
    """A convolution of `k`, which `body` computes from `a` and `c`, both made of `x` by convolutions."""
    chain = "p = Conv<pads = [1, 1, 1, 1]>(x, w, b)  a = Relu(p)  c = Conv<pads = [1, 1, 1, 1]>(x, v, b)"
    body = f"{chain}  {body}  [op] y = Conv<pads = [1, 1, 1, 1]>(k, u, b)"
    return Pattern("Conv", f"{_IMAGE} x", f"{_CONV}, float[64,64,3,3] v, {weights}", body)


_ATTENTION = (
    "kt = Transpose<perm = [0, 1, 3, 2]>(k)  [op] s = MatMul(q, kt)  p = Softmax(s)  [op2] y = MatMul(p, v)"
)
# As EfficientViT has it: a row of ones below `v` makes one product give numerator and denominator.
_LINEAR_ATTENTION = (
    "qr = Relu(q)  kr = Relu(k)  vo = Concat<axis = 2>(v, ones)  kt = Transpose<perm = [0, 1, 3, 2]>(kr) "
    "[op] vk = MatMul(vo, kt)  [op2] o = MatMul(vk, qr) "
    "top = Slice(o, zero, last, two)  bottom = Slice(o, last, end, two) "
    "d = Add(bottom, eps)  y = Div(top, d)"
)
_LINEAR_WEIGHTS = (
    "float[1,2,1,64] ones, int64[1] zero = {0}, int64[1] last = {64}, int64[1] end = {65}, "
    "int64[1] two = {2}, float[1] eps = {1}"
)

PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {
        "conv": _conv("float[64,64,3,3] w"),
        "conv_1x1": _conv("float[64,64,1,1] w", "group = 1"),
        "conv_stem": _conv("float[64,3,3,3] w", channels=3),
        "conv_depthwise": _conv("float[64,1,3,3] w", "group = 64, pads = [1, 1, 1, 1]"),
        "conv_grouped": _conv("float[64,16,3,3] w", "group = 4, pads = [1, 1, 1, 1]"),
        "conv_grouped_1x1": _conv("float[64,16,1,1] w", "group = 4"),
        "conv_transpose": Pattern(
            "ConvTranspose", f"{_IMAGE} x", "float[64,64,2,2] w, float[64] b",
            "[op] y = ConvTranspose<strides = [2, 2]>(x, w, b)",
        ),
        "gemm": Pattern(
            "Gemm", "float[64,64] x", "float[64,64] w, float[64] b", "[op] y = Gemm<transB = 1>(x, w, b)"
        ),
        "matmul_weight": Pattern("MatMul", f"{_TOKENS} x", "float[64,64] w", "[op] y = MatMul(x, w)"),
        "matmul": Pattern("MatMul", f"{_HEADS} a, {_HEADS} b", "", "[op] y = MatMul(a, b)"),
        "attention": Pattern("MatMul", f"{_HEADS} q, {_HEADS} k, {_HEADS} v", "", _ATTENTION),
        "relu_linear_attention": Pattern(
            "MatMul", f"{_HEADS} q, {_HEADS} k, {_HEADS} v", _LINEAR_WEIGHTS, _LINEAR_ATTENTION
        ),
        "attention_op": Pattern(
            "Attention", f"{_HEADS} q, {_HEADS} k, {_HEADS} v", "", "[op] y = Attention(q, k, v)"
        ),
        "attention_op_masked": Pattern(
            "Attention", f"{_HEADS} q, {_HEADS} k, {_HEADS} v, bool[64,64] mask", "",
            "[op] y = Attention(q, k, v, mask)",
        ),
        "add": Pattern("Add", f"{_TOKENS} x", "float[64,64] w", "m = MatMul(x, w)  [op] y = Add(m, x)"),
        "layer_norm": Pattern(
            "LayerNormalization", f"{_TOKENS} x", "float[64] w, float[64] b",
            "[op] y = LayerNormalization<axis = -1>(x, w, b)",
        ),
        "rms_norm": Pattern(
            "RMSNormalization", f"{_TOKENS} x", "float[64] w", "[op] y = RMSNormalization<axis = -1>(x, w)"
        ),
        "softmax": Pattern("Softmax", f"{_TOKENS} x", "", "[op] y = Softmax(x)"),
        "hard_swish": Pattern("HardSwish", f"{_TOKENS} x", "", "[op] y = HardSwish(x)"),
        "gelu": Pattern("Gelu", f"{_TOKENS} x", "", "[op] y = Gelu(x)"),
        "resize": Pattern(
            "Resize", f"{_IMAGE} x", "float[4] s = {1, 1, 2, 2}",
            '[op] y = Resize<mode = "linear">(x, , s)',
        ),
        # How a convolution's input is made may change what an engine computes: a model's own are cut out of
        # it (`cuts.py`); these stand for them where there is no model.
        "behind_concat": _behind("k = Concat<axis = 1>(a, c)", "float[64,128,3,3] u"),
        "behind_resize": _behind(
            'k = Resize<mode = "nearest">(c, , s)', "float[64,64,3,3] u, float[4] s = {1, 1, 2, 2}"
        ),
        "behind_residual": _behind("k = Add(a, c)", "float[64,64,3,3] u"),
        "behind_split": _behind(
            "k, rest = Split<axis = 1>(c, parts)", "float[64,48,3,3] u, int64[2] parts = {48, 16}"
        ),
        "two_readers": Pattern(
            "Conv", f"{_IMAGE} x", f"{_CONV}, float[64,64,1,1] v",
            "a = Relu(x)  [op] c = Conv<pads = [1, 1, 1, 1]>(a, w, b)  [op2] d = Conv(a, v)  y = Add(c, d)",
        ),
    }
)  # fmt: skip
ACTIVATIONS = frozenset(
    {"matmul", "attention", "relu_linear_attention", "attention_op", "attention_op_masked"}
)
"""Patterns whose products have no weights."""
DECIDING_NODES = frozenset({"op", "op2"})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operator types that an engine has quantised kernels for; around others Q/DQ only rounds."""

_CARRIERS = frozenset({"Cast", "Identity", "Transpose", "QuantizeLinear", "DequantizeLinear"})
_BY_OP_TYPE = {
    "ConvTranspose": "conv_transpose", "Gemm": "gemm", "Add": "add", "LayerNormalization": "layer_norm",
    "RMSNormalization": "rms_norm", "Softmax": "softmax", "HardSwish": "hard_swish", "Gelu": "gelu",
    "Resize": "resize",
}  # fmt: skip


def float_model(pattern: str, folder: Path) -> ir.Model:
    """A pattern's model with drawn weights, loaded from a file that is left in `folder`."""
    proto, random = onnx.parser.parse_model(PATTERNS[pattern].text), np.random.default_rng(0)
    held = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.value_info:
        if value.name not in held:
            sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
            # Drawn, the ones would bring the denominator to 0, and NaN would be blamed on the engine.
            array = np.ones(sizes) if value.name == "ones" else 0.1 * random.standard_normal(sizes)
            proto.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), value.name))
    path = folder / f"{pattern}.onnx"
    onnx.save(proto, path)
    return load_written(path)


def quantises(precision: Precision, pattern: str) -> bool:
    """Whether a precision quantises a pattern, or leaves it in floats."""
    if PATTERNS[pattern].op_type not in precision.quantized_ops:
        return False
    return not (precision.needs_weights and pattern in ACTIVATIONS)


def node_patterns(model: ir.Model) -> dict[str, str]:
    """Which pattern each node is, by node name; other nodes are left out."""
    patterns = ((node.name or "", _pattern_of(node)) for node in model.graph)
    return {name: pattern for name, pattern in patterns if pattern}


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
            # Kernels for few channels are others; ModelOpt leaves such convolutions in floats.
            return "conv_stem" if inputs < 16 else f"conv{narrow}"
        return "conv_depthwise" if inputs == 1 and outputs >= group else f"conv_grouped{narrow}"
    if node.op_type == "Attention":
        mask = node.inputs[3] if len(node.inputs) > 3 else None
        return (
            "attention_op_masked" if mask is not None and mask.dtype == ir.DataType.BOOL else "attention_op"
        )
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
    counts = Counter(patterns[node] for node in nodes if node in patterns)
    types = frozenset(op_types)
    if counts["matmul"] >= 2 and "Softmax" in types:
        counts["attention"] = 1
    elif counts["matmul"] >= 2 and {"Relu", "Div"} <= types:
        counts["relu_linear_attention"] = 1
    return +counts
