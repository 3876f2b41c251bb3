"""Weights in another type: converted floats, and symmetric integers with their scales."""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

_SMALLEST_NORMAL_FP16 = np.float32(2.0**-14)
_LARGEST = {
    ir.DataType.FLOAT16: np.float32(65504.0),
    ir.DataType.BFLOAT16: np.float32(ml_dtypes.finfo(ml_dtypes.bfloat16).max),  # type: ignore[no-untyped-call]
}
_SMALLEST_SCALE = 2.0**-14
"""Scales below this would be denormal or zero in FP16, and TensorRT refuses a scale of zero."""


def converted(array: NDArray[Any], data_type: ir.DataType) -> NDArray[Any]:
    """A float32 array in another float type, same shape.

    A finite number that overflows is clipped to the largest of the type (65504 in FP16), infinities stay. A
    scalar that would vanish in FP16 (the 1e-15 that keeps a division finite) becomes the smallest normal
    number instead of 0.
    """
    largest = _LARGEST.get(data_type)
    if largest is not None and array.size and not -largest <= array.min() <= array.max() <= largest:
        array = np.where(np.isfinite(array), np.clip(array, -largest, largest), array)  # rarely: it copies
    # Only scalars: a tensor of weights may hold tiny numbers, and 0 serves them as well.
    is_scalar = data_type == ir.DataType.FLOAT16 and array.size == 1
    if is_scalar and 0 < abs(float(array.item())) < _SMALLEST_NORMAL_FP16:
        array = np.copysign(np.full_like(array, _SMALLEST_NORMAL_FP16), array)
    return array.astype(data_type.numpy())


def weight_scales(
    array: NDArray[np.float32], axis: int | None, largest: float, base: ir.DataType, block: int = 0
) -> NDArray[np.float32]:
    """Scales of symmetric quantisation, as rounded to the type that they will be stored in.

    Float32 [channels], [] for one scale, or of a matrix's shape with the axis that is not `axis` divided by
    `block`.

    Args:
        array: weights.
        axis: the channel axis; None for one scale.
        largest: largest magnitude of the grid, as 127 for INT8.
        base: the type that the scales will be stored in.
        block: this many weights in a row share a scale; 0 is all of a channel.
    """
    scales = _largest(array, axis, block) / np.float32(largest)
    smallest = np.float32(_SMALLEST_SCALE if base == ir.DataType.FLOAT16 else np.finfo(np.float32).tiny)
    # A channel of zeros has a scale of 1: TensorRT refuses a scale that is not positive.
    scales = np.where(scales > 0, np.maximum(scales, smallest), np.float32(1))
    # Weights are put on the grid of the scales as they are stored: by unrounded ones they would be off by up
    # to half a step of the scale's own type.
    return converted(scales, base).astype(np.float32)


class LevelScales(NamedTuple):
    """Scales on two levels: one for the matrix, and those of blocks, multiples of it."""

    whole: np.float32
    fine: NDArray[Any]


def level_scales(
    array: NDArray[np.float32], axis: int, largest: float, kind: ir.DataType, block: int
) -> LevelScales:
    """Scales on two levels, those of blocks of the type `kind`.

    Args:
        array: a matrix of weights.
        axis: the channel axis; blocks are along the other.
        largest: largest magnitude of the grid.
        kind: a float type; the largest block has its largest value.
        block: this many weights in a row share a scale.
    """
    limits, type_ = _largest(array, axis, block), ml_dtypes.finfo(kind.numpy())  # type: ignore[no-untyped-call]
    whole = limits.max() / np.float32(largest * float(type_.max)) or np.float32(1)
    # A matrix of zeros, or of denormals, would have a scale of 0 to divide by.
    whole = np.maximum(whole, np.finfo(np.float32).tiny)
    # A block of zeros gets the smallest scale there is, not 0: TensorRT refuses a scale that is not positive.
    fine = np.maximum(limits / np.float32(largest) / whole, np.float32(type_.smallest_subnormal))
    return LevelScales(whole, np.minimum(fine, np.float32(type_.max)).astype(kind.numpy()))


def on_grid(
    array: NDArray[np.float32],
    scales: NDArray[np.float32],
    axis: int | None,
    largest: float,
    data_type: ir.DataType,
    block: int = 0,
) -> NDArray[Any]:
    """Weights on the grid of their `weight_scales`, as INT8, INT4, FLOAT8E4M3FN or FLOAT4E2M1.

    Args:
        array: float32 weights.
        scales: of channels, or of blocks [channels, inputs / block] where there are such.
        axis: that of the channels; None for one scale.
        largest: magnitude on the grid, as 127 of INT8.
        data_type: what is stored.
        block: so many weights share a scale; 0 for whole channels.
    """
    shape = [-1 if i == axis else 1 for i in range(array.ndim)] if axis is not None else []
    grid = array / (np.repeat(scales, block, axis=1 - (axis or 0)) if block else scales.reshape(shape))
    if data_type.is_integer():
        # The conversion below rounds to small floats by itself, but truncates to integers.
        grid = np.rint(grid)
    stored: NDArray[Any] = np.clip(grid, -largest, largest).astype(data_type.numpy())
    return stored


def _largest(array: NDArray[np.float32], axis: int | None, block: int) -> NDArray[np.float32]:
    """Largest magnitude behind each scale."""
    if block:
        along = 1 - (axis or 0)
        parts = list(array.shape)
        parts[along : along + 1] = [array.shape[along] // block, block]
        return np.asarray(np.abs(array).reshape(parts).max(axis=along + 1), np.float32)
    axes = tuple(i for i in range(array.ndim) if i != axis) if axis is not None else None
    return np.asarray(np.abs(array).max(axis=axes), np.float32)


def activation_scale(largest_value: float, largest: float) -> float:
    """Scale of an activation whose range is +-`largest_value`, at least `_SMALLEST_SCALE`."""
    return max(largest_value / largest, _SMALLEST_SCALE)
