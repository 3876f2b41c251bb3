"""Random cases of operators on images: convolutions, pools, norms, resampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from draw import Array, Draw, Shape, Wanted


def image(d: Draw, channels: int = 4, low: int = 5) -> Array:
    """One or two images, [n, channels, width] or [n, channels, height, width]."""
    return d.floats(d.number(1, 2), channels, *(d.number(low, 9) for _ in range(d.one(1, 2, 2, 2))))


def window(d: Draw, places: int) -> tuple[dict[str, Any], Shape]:
    """Random strides, pads and dilations over `places` axes as attributes, and a kernel shape for them."""
    kernel = tuple(d.number(1, 3) for _ in range(places))
    given = d.some(strides=[d.number(1, 3) for _ in range(places)], dilations=[d.number(1, 2)] * places)
    if d.chance(0.25):
        given["auto_pad"] = d.one("SAME_UPPER", "SAME_LOWER", "VALID")
        given.pop("dilations", None)
        # A stride above the kernel leaves gaps, and for SAME, ONNX leaves open where they lie.
        if "strides" in given and given["auto_pad"] != "VALID":
            given["strides"] = [min(pair) for pair in zip(given["strides"], kernel, strict=True)]
    elif d.chance(0.6):
        given["pads"] = [d.number(0, size - 1) for size in kernel * 2]
    return given, kernel


def convolution(d: Draw) -> Wanted:
    """Conv: grouped, dilated, padded in every way, with weights that are constant or computed."""
    x = image(d)
    given, kernel = window(d, x.ndim - 2)
    groups = d.one(1, 1, 2, 4)
    weights = d.floats(d.one(1, 2) * 4, 4 // groups, *kernel)
    return _convolution(
        d, x, weights, weights.shape[0], {**given, "group": groups, **d.some(kernel_shape=kernel)}
    )


def transposed(d: Draw) -> Wanted:
    """ConvTranspose, with output_padding."""
    x = image(d, low=3)
    given, kernel = window(d, x.ndim - 2)
    groups = d.one(1, 2, 4)
    outputs = d.number(1, 3)
    if "strides" in given and d.chance(0.4):
        given["output_padding"] = [size - 1 for size in given["strides"]]
    weights = d.floats(4, outputs, *kernel)
    return _convolution(d, x, weights, outputs * groups, {**given, "group": groups})


def _convolution(d: Draw, x: Array, weights: Array, outputs: int, given: dict[str, Any]) -> Wanted:
    inputs = [d.data(x), d.either(weights)]
    return Wanted([*inputs, d.either(d.floats(outputs))] if d.chance(0.5) else inputs, given)


def pool(d: Draw) -> Wanted:
    """AveragePool, MaxPool and LpPool."""
    x = image(d)
    given, kernel = window(d, x.ndim - 2)
    given |= {"kernel_shape": kernel, **d.some(ceil_mode=1, count_include_pad=1, p=d.one(1, 3))}
    return Wanted([d.data(x)], given)


def whole(d: Draw) -> Wanted:
    """Global pools."""
    return Wanted([d.data(image(d))], d.some(p=1))


def local(d: Draw) -> Wanted:
    """LRN."""
    return Wanted(
        [d.data(d.floats(1, 5, 4, 4))], {"size": d.one(1, 3, 5), **d.some(alpha=0.1, beta=0.5, bias=2.0)}
    )


def batch_norm(d: Draw) -> Wanted:
    """BatchNormalization in inference mode."""
    x = image(d)
    # The variance must be positive.
    parts = [d.floats(4), d.floats(4), d.floats(4), np.abs(d.floats(4)) + np.float32(0.1)]
    return Wanted([d.data(x), *map(d.constant, parts)], d.some(epsilon=0.01))


def instance_norm(d: Draw) -> Wanted:
    """InstanceNormalization."""
    return Wanted([d.data(image(d)), d.either(d.floats(4)), d.either(d.floats(4))], d.some(epsilon=0.01))


def group_norm(d: Draw) -> Wanted:
    """GroupNormalization: parameters per group until opset 20, per channel since."""
    size = 2 if d.opset < 21 else 4
    inputs = [d.data(image(d)), d.either(d.floats(size)), d.either(d.floats(size))]
    return Wanted(inputs, {"num_groups": 2, **d.some(epsilon=0.01)})


def layer_norm(d: Draw) -> Wanted:
    """LayerNormalization and RMSNormalization."""
    shape = d.shape(2, 4)
    axis = d.number(1, len(shape) - 1)
    inputs = [d.data(d.floats(*shape)), d.either(d.floats(*shape[axis:]))]
    if d.op == "LayerNormalization" and d.chance(0.6):
        inputs.append(d.either(d.floats(*shape[axis:])))
    return Wanted(inputs, {"axis": d.one(axis, axis - len(shape)), **d.some(epsilon=0.01)})


def mean_variance(d: Draw) -> Wanted:
    """MeanVarianceNormalization over images."""
    return Wanted([d.data(d.floats(2, 3, 4, 5))], d.some(axes=[0, 2, 3]))


def space(d: Draw) -> Wanted:
    """DepthToSpace and SpaceToDepth."""
    x = d.floats(1, 8, 2, 4) if d.op == "DepthToSpace" else d.floats(1, 2, 4, 6)
    return Wanted([d.data(x)], {"blocksize": 2, **d.some(mode=d.one("CRD", "DCR"))})


def upsample(d: Draw) -> Wanted:
    """Upsample, of opsets 7 to 9."""
    x, scales = d.data(d.floats(1, 2, 4, 5)), [1.0, 1.0, d.one(1.0, 2.0, 3.0, 1.5), d.one(2.0, 2.5)]
    mode = {"mode": d.one("nearest", "linear")}
    if d.has("scales"):
        return Wanted([x], {**mode, "scales": scales})
    return Wanted([x, d.constant(np.array(scales, np.float32))], mode)


def resize(d: Draw) -> Wanted:
    """Resize by scales or to sizes, in every mode of the opset."""
    shape = (1, 2, d.number(3, 8), d.number(3, 8))
    x, mode = d.data(d.floats(*shape)), d.one("nearest", "linear", "cubic" if d.opset >= 11 else "linear")
    scales = np.array([1, 1, *(d.one(0.5, 0.6, 1.0, 1.5, 2.0, 3.0) for _ in range(2))], np.float32)
    given: dict[str, Any] = {"mode": mode}
    if d.opset < 11:
        return Wanted([x, d.constant(scales)], given)
    ways = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "tf_half_pixel_for_nn"]
    given |= d.some(
        coordinate_transformation_mode=d.one(*ways[: 5 if d.opset < 13 else 4]), cubic_coeff_a=-0.5
    )
    given |= d.some(exclude_outside=1) if mode == "cubic" else {}
    given |= d.some(antialias=1) if mode != "nearest" else {}
    if mode == "nearest":
        given |= d.some(nearest_mode=d.one("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"))
    roi = "" if d.opset >= 13 else d.constant(np.zeros(0, np.float32))
    if d.chance(0.5):
        return Wanted([x, roi, d.constant(scales)], given)
    empty = "" if d.opset >= 13 else d.constant(np.zeros(0, np.float32))
    if d.has("axes") and d.chance(0.4):
        given |= {"axes": d.one([2, 3], [3, 2], [-2, -1])}
        given |= d.some(keep_aspect_ratio_policy=d.one("not_larger", "not_smaller"))
        return Wanted([x, roi, empty, d.ints(d.number(2, 9), d.number(2, 9))], given)
    return Wanted([x, roi, empty, d.ints(1, 2, d.number(2, 9), d.number(2, 9))], given)


def grid(d: Draw) -> Wanted:
    """GridSample: its modes have new names since opset 20."""
    places = np.tanh(d.floats(1, 3, 4, 2)) * np.float32(1.2)
    modes = ("bilinear", "nearest", "bicubic") if d.opset < 20 else ("linear", "nearest", "cubic")
    given = d.some(mode=d.one(*modes), padding_mode=d.one("border", "reflection", "zeros"), align_corners=1)
    return Wanted([d.data(d.floats(1, 2, 5, 6)), d.either(places)], given)


def regions(d: Draw) -> Wanted:
    """RoiAlign; opset 16 added the offset of half a pixel."""
    boxes = np.array([[0, 0, 4, 5], [1, 2, 6, 6]], np.float32)
    given = {"output_height": 3, "output_width": 2, "sampling_ratio": d.one(0, 2),
             **d.some(mode="avg", spatial_scale=0.5,
                      coordinate_transformation_mode=d.one("half_pixel", "output_half_pixel"))}  # fmt: skip
    places = d.constant(np.zeros(2, np.int64))
    return Wanted([d.data(d.floats(1, 2, 7, 8)), d.either(boxes), places], given)


def affine(d: Draw) -> Wanted:
    """AffineGrid."""
    return Wanted([d.data(d.floats(1, 2, 3)), d.ints(1, 2, 4, 5)], d.some(align_corners=1))


def columns(d: Draw) -> Wanted:
    """Col2Im."""
    return Wanted([d.data(d.floats(1, 2 * 4, 9)), d.ints(4, 4), d.ints(2, 2)])


IMAGES: Mapping[str, Callable[[Draw], Wanted]] = {
    "Conv": convolution,
    "ConvTranspose": transposed,
    "AveragePool": pool,
    "MaxPool": pool,
    "LpPool": pool,
    "GlobalAveragePool": whole,
    "GlobalMaxPool": whole,
    "GlobalLpPool": whole,
    "LRN": local,
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": layer_norm,
    "MeanVarianceNormalization": mean_variance,
    "DepthToSpace": space,
    "SpaceToDepth": space,
    "Upsample": upsample,
    "Resize": resize,
    "GridSample": grid,
    "RoiAlign": regions,
    "AffineGrid": affine,
    "Col2Im": columns,
}
