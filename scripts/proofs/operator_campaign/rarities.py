"""Random cases of rare operators: signals, sequences, boxes, outputs whose sizes depend on values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from draw import Draw, Wanted
from onnx import TensorProto, helper


def wave(d: Draw) -> Wanted:
    """HannWindow, HammingWindow and BlackmanWindow, of a constant length."""
    return Wanted([d.constant(np.int64(d.number(2, 9)))], d.some(periodic=0))


def fourier(d: Draw) -> Wanted:
    """DFT: the axis is an attribute until opset 19, an input since."""
    x = d.data(d.floats(1, d.number(2, 6), d.number(2, 6), d.one(1, 2)))
    if d.has("axis"):
        return Wanted([x], d.some(axis=1, inverse=1))
    return Wanted([x, "", d.constant(np.int64(1))] if d.chance(0.5) else [x], d.some(inverse=1))


def short_fourier(d: Draw) -> Wanted:
    """STFT."""
    signal = d.data(d.floats(1, 16, 1))
    return Wanted([signal, d.constant(np.int64(4)), d.constant(np.abs(d.floats(8)))])


def deformed(d: Draw) -> Wanted:
    """DeformConv, with and without a mask."""
    inputs = [d.data(d.floats(1, 2, 5, 5)), d.constant(d.floats(3, 2, 3, 3)), d.data(d.floats(1, 18, 5, 5))]
    if d.chance(0.5):
        inputs += [d.constant(d.floats(3)) if d.chance(0.5) else "", d.data(np.abs(d.floats(1, 9, 5, 5)))]
    return Wanted(inputs, {"pads": [1] * 4, "kernel_shape": [3, 3]})


def boxes(d: Draw) -> Wanted:
    """NonMaxSuppression."""
    corners = np.sort(d.random.random((1, 6, 2, 2)).astype(np.float32), axis=2).reshape(1, 6, 4)
    limits = [d.constant(np.array([3], np.int64)), d.constant(np.array([0.5], np.float32))]
    return Wanted([d.data(corners), d.data(np.abs(d.floats(1, 2, 6))), *limits])


def counted(d: Draw) -> Wanted:
    """NonZero and Unique, whose results have sizes that depend on values."""
    return Wanted([d.data(np.round(d.floats(*d.shape(1, 2))))])


def steps(d: Draw) -> Wanted:
    """Range."""
    kind = d.one(np.float32, np.int64)
    return Wanted(
        [d.constant(np.array(end, kind)) for end in (d.number(0, 2), d.number(3, 7), d.number(1, 2))]
    )


def filled(d: Draw) -> Wanted:
    """ConstantOfShape."""
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.5])
    return Wanted([d.ints(*d.shape())], d.some(value=value))


def regions(d: Draw) -> Wanted:
    """MaxRoiPool."""
    rows = d.constant(np.array([[0, 0, 0, 4, 5], [0, 1, 2, 6, 6]], np.float32))
    return Wanted([d.data(d.floats(1, 2, 7, 8)), rows], {"pooled_shape": [3, 2], **d.some(spatial_scale=0.5)})


def listed(d: Draw) -> Wanted:
    """Operators that read a sequence of tensors, behind those that build one."""
    shape = d.shape(1, 3)
    members = [d.data(d.floats(*shape)) for _ in range(3)]
    sequence = d.put("SequenceConstruct", members, {})
    if d.chance(0.5):
        sequence = d.put("SequenceInsert", [sequence, d.data(d.floats(*shape))], {})
    if d.chance(0.5):
        sequence = d.put("SequenceErase", [sequence, d.constant(np.int64(d.number(0, 2)))], {})
    if d.op == "ConcatFromSequence":
        return Wanted([sequence], {"axis": d.number(0, len(shape) - 1), **d.some(new_axis=1)})
    if d.op == "SequenceLength":
        return Wanted([sequence])
    return Wanted([sequence, d.constant(np.int64(d.number(-2, 1)))])


def unpooled(d: Draw) -> Wanted:
    """MaxUnpool behind a MaxPool."""
    given = {"kernel_shape": [2, 2], "strides": [2, 2]}
    x = d.data(d.floats(1, 2, 4, 6))
    names = [f"pooled{len(d.nodes)}", f"places{len(d.nodes)}"]
    d.nodes.append(helper.make_node("MaxPool", [x], names, **given))
    return Wanted(names, given)


RARITIES: Mapping[str, Callable[[Draw], Wanted]] = {
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), wave),
    **dict.fromkeys(("SequenceAt", "ConcatFromSequence", "SequenceLength"), listed),
    **dict.fromkeys(("NonZero", "Unique"), counted),
    "DFT": fourier, "STFT": short_fourier, "DeformConv": deformed, "NonMaxSuppression": boxes,
    "Range": steps, "ConstantOfShape": filled, "MaxRoiPool": regions, "MaxUnpool": unpooled,
}  # fmt: skip
