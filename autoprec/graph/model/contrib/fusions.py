"""Operators that ONNX Runtime's optimizer fuses others into, written in operators of ONNX again.

A model that was saved behind that optimizer has them: activations, what is fused into a product, and
normalisations. Each is written as the definition in ONNX Runtime's ContribOperators.md says, for any opset.
What is left of that domain is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.model.contrib.writing import Writing
from autoprec.graph.model.inference import Notes, infer
from autoprec.graph.model.passing import named

DOMAIN = "com.microsoft"
_MISPLACED = ("SimplifiedLayerNormalization",)
"""Operators that ONNX Runtime puts in the domain of ONNX, which does not have them."""
_PLAIN = ("Relu", "Tanh", "Sigmoid")
Write = Callable[[Writing], ir.Value]


def without_fusions(model: ir.Model, notes: Notes) -> None:
    """Replace fused operators by operators of ONNX, in place, and infer types and shapes.

    Inference does not see through them, so it runs again after each layer that it had not reached.

    Args:
        model: sorted, with its own functions inlined.
        notes: what `inference.set_aside` found.

    Raises `ModelError` naming a node that has more than operators of ONNX can say.
    """
    infer(model, notes)
    while fused := [node for node in model.graph if _is_fused(node)]:
        reached = [node for node in fused if _is_reached(node)]
        # One at least, reached or not: each round must leave fewer of them.
        for node in reached or fused[:1]:
            writing = Writing(model.graph, node)
            writing.stand_in(_FORMS[node.op_type](writing))
        infer(model, notes)


def _is_fused(node: ir.Node) -> bool:
    is_theirs = node.domain == DOMAIN or (node.domain == "" and node.op_type in _MISPLACED)
    return is_theirs and node.op_type in _FORMS


def _is_reached(node: ir.Node) -> bool:
    """Whether the types and shapes of a node's inputs are known."""
    return all(
        value is None or (value.dtype is not None and value.shape is not None) for value in node.inputs
    )


def _gelu(to: Writing) -> ir.Value:
    return _gelu_of(to, to.input(0))


def _bias_gelu(to: Writing) -> ir.Value:
    return _gelu_of(to, to.add("Add", to.input(0), to.input(1)))


def _gelu_of(to: Writing, value: ir.Value) -> ir.Value:
    """x (1 + erf(x / sqrt 2)) / 2."""
    curve = to.add("Erf", to.add("Div", value, to.number(math.sqrt(2))))
    return to.add("Mul", to.add("Mul", value, to.add("Add", curve, to.number(1))), to.number(0.5))


def _fast_gelu(to: Writing) -> ir.Value:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, of x with its bias."""
    value = to.input(0) if to.given(1) is None else to.add("Add", to.input(0), to.input(1))
    cube = to.add("Mul", to.add("Mul", value, value), value)
    bent = to.add("Add", value, to.add("Mul", cube, to.number(0.044715)))
    curve = to.add("Tanh", to.add("Mul", bent, to.number(math.sqrt(2 / math.pi))))
    return to.add("Mul", to.add("Mul", value, to.add("Add", curve, to.number(1))), to.number(0.5))


def _quick_gelu(to: Writing) -> ir.Value:
    """x sigmoid(alpha x)."""
    steep = to.add("Mul", to.input(0), to.number(to.setting("alpha", 1.702)))
    return to.add("Mul", to.input(0), to.add("Sigmoid", steep))


def _conv(to: Writing) -> ir.Value:
    """act(conv(x, w, b) + z)."""
    product = to.add("Conv", *to.given_inputs(3), attributes=_own(to))
    rest = to.given(3)
    return _activated(to, product if rest is None else to.add("Add", product, rest))


def _gemm(to: Writing) -> ir.Value:
    return _activated(to, to.add("Gemm", *to.given_inputs(3), attributes=_own(to)))


def _own(to: Writing) -> list[ir.Attr]:
    """The attributes of the product itself, without those of the activation."""
    return [held for held in to.node.attributes.values() if not held.name.startswith("activation")]


def _activated(to: Writing, value: ir.Value) -> ir.Value:
    """A value behind the activation that the attribute `activation` names."""
    held, kind = to.node.attributes, to.node.attributes.get_string("activation", "")
    told = (
        [float(one) for one in held["activation_params"].as_floats()] if "activation_params" in held else []
    )
    if kind == "" or kind in _PLAIN:
        return to.add(kind, value) if kind else value
    if kind == "LeakyRelu":
        alpha = told[0] if told else to.setting("activation_alpha", 0.01)
        return to.add(kind, value, attributes=[ir.AttrFloat32("alpha", alpha)])
    if kind == "HardSigmoid":
        steep, shift = told or (to.setting("activation_alpha", 0.2), to.setting("activation_beta", 0.5))
        both = [ir.AttrFloat32("alpha", steep), ir.AttrFloat32("beta", shift)]
        return to.add(kind, value, attributes=both)
    if kind == "Clip" and len(told) == 2:
        # Max and Min mean the same in every opset; the bounds of Clip were attributes once.
        return to.add("Min", to.add("Max", value, to.number(told[0])), to.number(told[1]))
    raise ModelError(f"node {named(to.node)!r} ({to.node.op_type}) is fused with {kind!r}, {_WAY_OUT}")


def _matmul(to: Writing) -> ir.Value:
    """alpha a b, with either operand transposed."""
    held = to.node.attributes
    if held.get_int("transBatchA", 0) or held.get_int("transBatchB", 0):
        raise ModelError(f"node {named(to.node)!r} ({to.node.op_type}) turns batches, {_WAY_OUT}")
    factors = [
        to.turned(to.input(place)) if held.get_int(f"trans{letter}", 0) else to.input(place)
        for place, letter in enumerate("AB")
    ]
    product, alpha = to.add("MatMul", *factors), to.setting("alpha", 1.0)
    return product if alpha == 1 else to.add("Mul", product, to.number(alpha))


def _skip_norm(to: Writing) -> ir.Value:
    """LayerNormalization of the sum of two values and a bias."""
    total, (scale, shift) = _skipped(to, 4), (to.input(2), to.given(3))
    epsilon = ir.AttrFloat32("epsilon", to.setting("epsilon", 1e-12))
    shifts = [] if shift is None else [shift]
    return to.add("LayerNormalization", total, scale, *shifts, attributes=[epsilon])


def _skip_rms(to: Writing) -> ir.Value:
    return _rms(to, _skipped(to, 3), to.input(2), to.setting("epsilon", 1e-12))


def _simple_norm(to: Writing) -> ir.Value:
    if to.node.attributes.get_int("axis", -1) != -1 or to.is_read(1):
        raise ModelError(f"node {named(to.node)!r} ({to.node.op_type}) is of another axis, {_WAY_OUT}")
    return _rms(to, to.input(0), to.input(1), to.setting("epsilon", 1e-5))


def _skipped(to: Writing, place: int) -> ir.Value:
    """The sum of a value, its skip connection and a bias, which is the node's fourth output."""
    if to.is_read(1) or to.is_read(2):
        raise ModelError(f"node {named(to.node)!r} ({to.node.op_type}) gives its statistics, {_WAY_OUT}")
    total, bias = to.add("Add", to.input(0), to.input(1)), to.given(place)
    total = total if bias is None else to.add("Add", total, bias)
    to.give(3, total)
    return total


def _rms(to: Writing, value: ir.Value, scale: ir.Value, epsilon: float) -> ir.Value:
    """x / sqrt(mean(x^2) + epsilon), scaled; the mean along the last axis."""
    squares = to.add("Mul", value, value)
    mean = to.mean(squares)
    spread = to.add("Sqrt", to.add("Add", mean, to.number(epsilon)))
    return to.add("Mul", to.add("Div", value, spread), scale)


_WAY_OUT = (
    "which operators of ONNX do not say: save it without ONNX Runtime's optimisations, or export it again"
)
_FORMS: Mapping[str, Write] = MappingProxyType(
    {
        "Gelu": _gelu,
        "BiasGelu": _bias_gelu,
        "FastGelu": _fast_gelu,
        "QuickGelu": _quick_gelu,
        "FusedConv": _conv,
        "FusedGemm": _gemm,
        "FusedMatMul": _matmul,
        "TransposeMatMul": _matmul,
        "SkipLayerNormalization": _skip_norm,
        "SkipSimplifiedLayerNormalization": _skip_rms,
        "SimplifiedLayerNormalization": _simple_norm,
    }
)
