"""Random cases of operators that quantise or compute with integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from draw import Array, Draw, Wanted


def _grid(d: Draw, *kinds: type) -> np.dtype[Any]:
    return np.dtype(d.one(*(kinds or (np.int8, np.uint8))))


def _zero(d: Draw, kind: np.dtype[Any], *shape: int) -> Array:
    spread = d.random.integers(-3, 4, shape)
    return (spread + (128 if kind == np.uint8 else 0)).astype(kind)


def _steps(d: Draw, *shape: int) -> Array:
    return np.asarray(d.random.uniform(0.01, 0.05, shape), np.float32)


def dequantized(d: Draw) -> Wanted:
    """DequantizeLinear behind a QuantizeLinear, per tensor or along an axis."""
    values, kind = d.floats(*d.shape(2, 4)), _grid(d)
    axis = d.number(0, values.ndim - 1)
    along = d.opset >= 13 and d.chance(0.4)
    sizes = (values.shape[axis],) if along else ()
    scale, zero = d.constant(_steps(d, *sizes)), d.constant(_zero(d, kind, *sizes))
    given = {"axis": axis} if along else {}
    return Wanted([d.put("QuantizeLinear", [d.data(values), scale, zero], given), scale, zero], given)


def dynamic(d: Draw) -> Wanted:
    """DynamicQuantizeLinear."""
    return Wanted([d.data(d.floats(*d.shape()))], {}, 3)


def whole_product(d: Draw) -> Wanted:
    """MatMulInteger and QLinearMatMul."""
    rows, inner, columns = (d.number(1, 5) for _ in range(3))
    kind, other = np.dtype(np.uint8), _grid(d)
    scale, zero = d.constant(_steps(d)), d.constant(_zero(d, kind))
    left = d.put("QuantizeLinear", [d.data(d.floats(rows, inner)), scale, zero], {})
    right = d.constant(d.random.integers(0, 100, (inner, columns)).astype(other))
    if d.op == "MatMulInteger":
        return Wanted([left, right, zero, d.constant(_zero(d, other))])
    grid = d.constant(np.float32(0.5)), d.constant(_zero(d, kind))
    return Wanted([left, scale, zero, right, d.constant(_steps(d)), d.constant(_zero(d, other)), *grid])


def whole_convolution(d: Draw) -> Wanted:
    """ConvInteger and QLinearConv."""
    kind, kernel = np.dtype(np.uint8), d.number(1, 3)
    scale, zero = d.constant(_steps(d)), d.constant(_zero(d, kind))
    image = d.put("QuantizeLinear", [d.data(d.floats(1, 3, 6, 6)), scale, zero], {})
    stored = d.constant(d.random.integers(-100, 100, (4, 3, kernel, kernel)).astype(np.int8))
    given = d.some(pads=[kernel // 2] * 4, strides=[2, 2])
    if d.op == "ConvInteger":
        return Wanted([image, stored, zero], given)
    sizes = (4,) if d.chance(0.5) else ()
    own = [d.constant(_steps(d, *sizes)), d.constant(np.zeros(sizes, np.int8))]
    grid = [d.constant(np.float32(0.1)), d.constant(_zero(d, kind))]
    bias = [d.constant(d.random.integers(-99, 99, 4).astype(np.int32))] if d.chance(0.5) else []
    return Wanted([image, scale, zero, stored, *own, *grid, *bias], given)


def bitwise(d: Draw) -> Wanted:
    """BitwiseAnd and its kind, and BitShift."""
    shape, shifts = d.shape(), d.op == "BitShift"
    kind = np.dtype(np.uint32 if shifts else np.int32)
    inputs = [d.data(d.random.integers(0, 99, shape).astype(kind))]
    if d.op != "BitwiseNot":
        inputs.append(d.constant(d.random.integers(0, 5, shape).astype(kind)))
    return Wanted(inputs, {"direction": d.one("LEFT", "RIGHT")} if shifts else {})


INTEGERS: Mapping[str, Callable[[Draw], Wanted]] = {
    "DequantizeLinear": dequantized, "DynamicQuantizeLinear": dynamic,
    "MatMulInteger": whole_product, "QLinearMatMul": whole_product,
    "ConvInteger": whole_convolution, "QLinearConv": whole_convolution,
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift"), bitwise),
}  # fmt: skip
