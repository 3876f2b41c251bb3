"""Makers of random cases, one per family of operators with alike inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from draw import Draw, Wanted
from images import IMAGES
from integers import INTEGERS
from moves import MOVES
from products import PRODUCTS
from rarities import RARITIES

Maker = Callable[[Draw], Wanted]


def _names(text: str) -> list[str]:
    return text.split()


UNARY = _names(
    """Abs Acos Acosh Asin Asinh Atan Atanh Celu Ceil Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish
    Identity IsInf IsNaN LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh
    Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Size Shape"""
)
BINARY = _names("Add Sub Mul Div Pow PRelu Mod Equal Greater GreaterOrEqual Less LessOrEqual")
VARIADIC = _names("Max Min Sum Mean")
LOGICAL = _names("And Or Xor Not")
REDUCTIONS = _names(
    """ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare"""
)


def unary(d: Draw) -> Wanted:
    """Operators with one input of any shape."""
    values = d.floats(*d.shape(0))
    # Values stay within the domain of each function: cases with NaN or infinity do not count.
    if d.op in ("Log", "Sqrt", "Reciprocal"):
        values = np.abs(values) + np.float32(0.1)
    if d.op == "Acosh":
        values = np.abs(values) + np.float32(1)
    if d.op in ("Acos", "Asin", "Atanh"):
        values = np.tanh(values)
    if d.op in ("IsInf", "IsNaN"):
        values = np.where(values > 1, np.float32(np.inf if d.op == "IsInf" else np.nan), values)
    given = d.some(alpha=0.3, beta=0.4, gamma=1.2, lambd=0.4, bias=0.1, approximate="tanh", start=1, end=-1,
                   detect_negative=0, detect_positive=0)  # fmt: skip
    return Wanted([d.data(np.asarray(values, np.float32))], given)


def binary(d: Draw) -> Wanted:
    """Operators with two inputs that broadcast."""
    shape = d.shape(0)
    other = tuple(1 if d.chance(0.3) else size for size in shape)
    other = other[d.number(0, len(other)) if d.chance(0.4) else 0 :]
    first, second = d.floats(*shape), d.floats(*other)
    if d.op in ("Div", "Mod"):
        second = np.abs(second) + np.float32(0.5)
    if d.op == "Pow":
        first = np.abs(first) + np.float32(0.1)
        second = d.one(second, np.array(2, np.float32), np.full(other, 0.5, np.float32))
    # Whole numbers, since random floats would never be equal.
    if d.op == "Equal":
        first, second = np.round(first), np.round(second)
    names = [d.data(np.asarray(first)), d.either(np.asarray(second, np.float32))]
    if d.op not in ("Pow", "PRelu", "Mod") and d.chance(0.2):
        names.reverse()
    return Wanted(names, {"fmod": 1} if d.op == "Mod" else {})


def variadic(d: Draw) -> Wanted:
    """Operators with several inputs that broadcast."""
    shape = d.shape()
    others = [
        d.either(d.floats(*(1 if d.chance(0.2) else size for size in shape))) for _ in range(d.number(0, 2))
    ]
    return Wanted([d.data(d.floats(*shape)), *others])


def logical(d: Draw) -> Wanted:
    """Operators on booleans."""
    shape = d.shape()
    count = 1 if d.op == "Not" else 2
    return Wanted([d.data(d.floats(*shape) > 0) for _ in range(count)])


def reduction(d: Draw) -> Wanted:
    """Reductions: the axes are an attribute in old opsets, an input in new ones."""
    values = d.floats(*d.shape(1, 4))
    if d.op.startswith("ReduceLogSum"):
        values = np.abs(values) + np.float32(0.1)
    inputs, given = [d.data(values)], d.some(keepdims=0, noop_with_empty_axes=1)
    if d.chance(0.8):
        axes = d.axes(values.ndim)
        if d.has("axes"):
            given["axes"] = axes
        elif d.takes(2):
            inputs.append(d.ints(*axes))
    return Wanted(inputs, given)


def argument(d: Draw) -> Wanted:
    """ArgMax and ArgMin."""
    values = np.round(d.floats(*d.shape()))
    return Wanted([d.data(values)], d.some(axis=d.axis(values.ndim), keepdims=0, select_last_index=1))


def over_axis(d: Draw) -> Wanted:
    """Softmax and its kind."""
    values = d.floats(*d.shape(1, 4))
    return Wanted([d.data(values)], d.some(axis=d.axis(values.ndim), p=d.one(1, 2)))


def clip(d: Draw) -> Wanted:
    """Limits as attributes in old opsets, as inputs in new ones; either may be missing."""
    x = d.data(d.floats(*d.shape()))
    if d.has("min"):
        return Wanted([x], d.some(min=-0.5, max=0.7))
    low, high = (d.one("", d.either(np.array(limit, np.float32))) for limit in (-0.5, 0.7))
    return Wanted([x, low, high] if high else [x, low] if low else [x])


def dropout(d: Draw) -> Wanted:
    """In inference: a copy, and a mask that nobody reads."""
    x = d.data(d.floats(*d.shape()))
    inputs = [x, d.constant(np.float32(0.3))] if d.takes(2) and d.chance(0.5) else [x]
    return Wanted(inputs, d.some(ratio=0.3), d.number(1, 2))


def choice(d: Draw) -> Wanted:
    """Where."""
    shape = d.shape()
    condition = d.either(d.floats(*shape) > 0)
    return Wanted([condition, d.data(d.floats(*shape)), d.either(d.floats(shape[-1]))])


def cast(d: Draw) -> Wanted:
    """Cast and CastLike to other types; the campaign adds the cast back to float."""
    x = d.data(d.floats(*d.shape()) * np.float32(3))
    if d.op == "CastLike":
        return Wanted([x, d.constant(np.zeros(1, d.one(np.int32, np.float32, np.bool_)))])
    return Wanted([x], {"to": d.one(1, 6, 7, 9, 11)})


def cumulative(d: Draw) -> Wanted:
    """CumSum."""
    values = d.floats(*d.shape())
    axis = d.constant(np.array(d.axis(values.ndim), d.one(np.int32, np.int64)))
    return Wanted([d.data(values), axis], d.some(exclusive=1, reverse=1))


MAKERS: Mapping[str, Maker] = {
    **dict.fromkeys(UNARY, unary), **dict.fromkeys(BINARY, binary), **dict.fromkeys(VARIADIC, variadic),
    **dict.fromkeys(LOGICAL, logical), **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("ArgMax", "ArgMin"), argument),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), over_axis),
    "Clip": clip, "Dropout": dropout, "Where": choice, "Cast": cast, "CastLike": cast, "CumSum": cumulative,
    **MOVES, **IMAGES, **PRODUCTS, **INTEGERS, **RARITIES,
}  # fmt: skip
"""Makers of cases by operator."""
FIRST_ONLY = frozenset(
    _names(
        """Det MaxUnpool STFT DeformConv QLinearMatMul QLinearConv MatMulInteger ConvInteger
        DynamicQuantizeLinear ArgMax ArgMin TopK Hardmax Floor Ceil Round Sign Equal Greater GreaterOrEqual
        Less LessOrEqual Mod NonZero Unique NonMaxSuppression IsInf IsNaN Shrink ThresholdedRelu Cast
        CastLike DequantizeLinear"""
    )
)
"""Operators that are not tried behind others: loading or OpenVINO would refuse the whole model, or rounding
alone would decide between nearly equal numbers."""
