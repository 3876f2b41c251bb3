"""Random cases of operators that move values without computing any."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from draw import Draw, Wanted


def concat(d: Draw) -> Wanted:
    """Concat along any axis."""
    shape = d.shape()
    axis = d.number(0, len(shape) - 1)
    others = [
        d.either(d.floats(*shape[:axis], d.number(1, 4), *shape[axis + 1 :])) for _ in range(d.number(0, 2))
    ]
    return Wanted(
        [d.data(d.floats(*shape)), *others],
        {"axis": d.one(axis, axis - len(shape)) if d.opset >= 11 else axis},
    )


def split(d: Draw) -> Wanted:
    """Split into even or uneven parts, given as an attribute, as an input, or by their number."""
    shape = [*d.shape(1, 3), 0]
    axis, parts = d.number(0, len(shape) - 1), [d.number(1, 3) for _ in range(d.number(1, 3))]
    even = d.chance(0.4)
    parts = [parts[0]] * len(parts) if even else parts
    shape[-1] = d.number(1, 4)
    shape[axis] = sum(parts)
    x, given = d.data(d.floats(*shape)), {"axis": axis}
    if d.has("split"):
        return Wanted([x], given if even and d.chance(0.5) else {**given, "split": parts}, len(parts))
    if d.has("num_outputs") and d.chance(0.5):
        uneven = sum(parts) - d.number(0, 1)
        x = d.data(d.floats(*[uneven if i == axis else size for i, size in enumerate(shape)]))
        return Wanted([x], {**given, "num_outputs": len(parts)}, len(parts))
    return Wanted([x, d.ints(*parts)], given, len(parts))


def cut(d: Draw) -> Wanted:
    """Slice with steps, from either end."""
    shape = d.shape()
    axes = sorted({d.number(0, len(shape) - 1) for _ in range(2)})
    starts = [d.number(-shape[axis], shape[axis] - 1) for axis in axes]
    ends = [d.one(shape[axis], 2**31 - 1, -1, d.number(1, shape[axis])) for axis in axes]
    x = d.data(d.floats(*shape))
    if d.has("starts"):
        return Wanted([x], {"starts": starts, "ends": ends, "axes": axes})
    inputs = [x, d.ints(*starts), d.ints(*ends), d.ints(*axes)]
    return Wanted([*inputs, d.ints(*(d.one(1, 2) for _ in axes))] if d.chance(0.5) else inputs)


def pad(d: Draw) -> Wanted:
    """Pad in every mode."""
    values = d.floats(*(d.number(2, 5) for _ in range(d.number(1, 4))))
    mode = d.one("constant", "reflect", "edge", *(["wrap"] if d.opset >= 19 else []))
    pads = [d.number(-1 if mode == "constant" and d.chance(0.2) else 0, 1) for _ in range(2 * values.ndim)]
    x = d.data(values)
    if d.has("pads"):
        return Wanted([x], {"mode": mode, "pads": pads, **d.some(value=0.5)})
    inputs = [x, d.ints(*pads)]
    if mode == "constant" and d.chance(0.5):
        inputs.append(d.constant(np.float32(0.5)))
    return Wanted(inputs, {"mode": mode})


def squeeze(d: Draw) -> Wanted:
    """Squeeze and Unsqueeze: axes as an attribute, then as an input."""
    shape = list(d.shape(1, 3))
    axes = [d.number(0, len(shape) - 1)]
    if d.op == "Squeeze":
        shape[axes[0]] = 1
    if d.opset >= 11 and d.chance(0.3):
        axes = [axes[0] - len(shape) - (d.op == "Unsqueeze")]
    x = d.data(d.floats(*shape))
    if d.has("axes"):
        return Wanted([x], {"axes": axes})
    return Wanted([x, d.ints(*axes)])


def reshape(d: Draw) -> Wanted:
    """Reshape, also with 0 (keep the size) and -1 (infer it)."""
    shape = d.shape()
    wanted = list(d.one((-1,), (0, -1), (int(np.prod(shape)),), (1, -1, 1), tuple(reversed(shape))))
    return Wanted([d.data(d.floats(*shape)), d.ints(*wanted)])


def flatten(d: Draw) -> Wanted:
    """Flatten at any axis."""
    values = d.floats(*d.shape())
    return Wanted([d.data(values)], d.some(axis=d.axis(values.ndim)))


def transpose(d: Draw) -> Wanted:
    """Transpose in any order."""
    values = d.floats(*d.shape())
    return Wanted([d.data(values)], d.some(perm=[int(i) for i in d.random.permutation(values.ndim)]))


def expand(d: Draw) -> Wanted:
    """Expand and Tile."""
    shape = tuple(d.one(1, d.number(1, 4)) for _ in range(d.number(1, 3)))
    if d.op == "Tile":
        return Wanted([d.data(d.floats(*shape)), d.ints(*(d.number(1, 3) for _ in shape))])
    wanted = [d.number(2, 3) if size == 1 else d.one(1, size) for size in shape]
    return Wanted([d.data(d.floats(*shape)), d.ints(*d.one(wanted, [2, *wanted]))])


def gather(d: Draw) -> Wanted:
    """Gather and GatherElements, with negative indices from opset 11 on."""
    shape = d.shape(1, 3)
    axis = d.number(0, len(shape) - 1)
    low = -shape[axis] if d.opset >= 11 else 0
    if d.op == "Gather":
        indices = d.random.integers(low, shape[axis], d.one((), (2,), (2, 2)))
    else:
        indices = d.random.integers(
            low, shape[axis], (*shape[:axis], d.number(1, shape[axis]), *shape[axis + 1 :])
        )
    given = {"axis": d.one(axis, axis - len(shape)) if d.opset >= 11 else axis}
    return Wanted([d.data(d.floats(*shape)), d.either(np.asarray(indices, np.int64))], given)


def gather_nd(d: Draw) -> Wanted:
    """GatherND and ScatterND."""
    shape = d.shape(2, 3)
    rows = d.number(1, 3)
    places = np.stack([d.random.choice(shape[0], min(rows, shape[0]), replace=False)], 1).astype(np.int64)
    x, at = d.data(d.floats(*shape)), d.either(places)
    if d.op == "GatherND":
        return Wanted([x, at])
    return Wanted(
        [x, at, d.either(d.floats(len(places), *shape[1:]))], d.some(reduction=d.one("add", "mul", "max"))
    )


def scatter(d: Draw) -> Wanted:
    """Scatter and ScatterElements."""
    shape = d.shape(1, 3)
    axis = d.number(0, len(shape) - 1)
    # Each place once: ONNX leaves open which of two updates of a place wins.
    places = np.argsort(d.random.random(shape), axis=axis)[
        tuple([slice(None)] * axis + [slice(0, d.number(1, 3))])
    ]
    updates = d.either(d.floats(*places.shape))
    given = {"axis": axis, **d.some(reduction=d.one("add", "mul", "max", "min"))}
    return Wanted([d.data(d.floats(*shape)), d.either(places.astype(np.int64)), updates], given)


def top(d: Draw) -> Wanted:
    """TopK: values and places."""
    shape = d.shape()
    values = d.random.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)
    axis = d.number(0, len(shape) - 1)
    count, given = d.number(1, shape[axis]), {"axis": axis, **d.some(largest=0)}
    if d.has("k"):
        return Wanted([d.data(values)], {**given, "k": count}, 2)
    return Wanted([d.data(values), d.ints(count)], given, 2)


def one_hot(d: Draw) -> Wanted:
    """OneHot, also with negative indices."""
    places = d.data(d.random.integers(-3, 3, d.shape(1, 2)).astype(np.int64))
    values = d.constant(np.array([0.5, 2], np.float32))
    return Wanted([places, d.constant(np.int64(3)), values], d.some(axis=d.one(0, -1)))


def filled(d: Draw) -> Wanted:
    """ConstantOfShape of a constant shape, as a computed one would make the output's shape dynamic."""
    tensor = d.some(value=None)
    return Wanted([d.ints(*d.shape())], tensor)


def triangle(d: Draw) -> Wanted:
    """Trilu."""
    inputs = [d.data(d.floats(*d.shape(2, 3)))]
    return Wanted(
        [*inputs, d.constant(np.int64(d.number(-1, 1)))] if d.chance(0.5) else inputs, d.some(upper=0)
    )


def identity_like(d: Draw) -> Wanted:
    """EyeLike."""
    return Wanted([d.data(d.floats(d.number(1, 4), d.number(1, 4)))], d.some(k=d.number(-1, 1), dtype=1))


def compress(d: Draw) -> Wanted:
    """Compress by a constant condition, so that the result's size is known."""
    shape = d.shape()
    axis = d.number(0, len(shape) - 1)
    keep = np.arange(shape[axis]) % 2 == 0
    return Wanted([d.data(d.floats(*shape)), d.constant(keep)], {"axis": axis})


def reverse(d: Draw) -> Wanted:
    """ReverseSequence."""
    time, batch = d.number(2, 4), d.number(1, 3)
    lengths = d.random.integers(1, time + 1, batch)
    return Wanted([d.data(d.floats(time, batch, 2)), d.either(lengths.astype(np.int64))])


def crop(d: Draw) -> Wanted:
    """CenterCropPad."""
    shape = d.shape(2, 4)
    axes = sorted({d.number(0, len(shape) - 1) for _ in range(2)})
    return Wanted([d.data(d.floats(*shape)), d.ints(*(d.number(1, 6) for _ in axes))], {"axes": axes})


MOVES: Mapping[str, Callable[[Draw], Wanted]] = {
    "Concat": concat,
    "Split": split,
    "Slice": cut,
    "Pad": pad,
    "Squeeze": squeeze,
    "Unsqueeze": squeeze,
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Expand": expand,
    "Tile": expand,
    "Gather": gather,
    "GatherElements": gather,
    "GatherND": gather_nd,
    "ScatterND": gather_nd,
    "Scatter": scatter,
    "ScatterElements": scatter,
    "TopK": top,
    "OneHot": one_hot,
    "Trilu": triangle,
    "EyeLike": identity_like,
    "Compress": compress,
    "ReverseSequence": reverse,
    "CenterCropPad": crop,
}
