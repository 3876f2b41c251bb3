"""Q/DQ pairs as data: a scale, a zero point and a grid; for weights, what is stored on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.grids.grid import Grid
from autoprec.graph.grids.weights import activation_scale, on_grid, weight_scales
from autoprec.precisions import Precision

Array = NDArray[Any]


class Pair(NamedTuple):
    """One Q/DQ pair, or one DQ of stored weights.

    Attributes:
        name: pairs of one value and one name are one pair.
        scale: float32, [] or [channels] or one for each block.
        kind: the quantised type.
        zero: of the quantised type, the shape of `scale`; None for zeros.
        axis: of the scales; None for one scale.
        block: this many values in a row along the axis share a scale; 0 where the axis holds channels.
        stored: weights on the grid; None for an activation.
    """

    name: str
    scale: NDArray[np.float32]
    kind: ir.DataType
    zero: Array | None = None
    axis: int | None = None
    block: int = 0
    stored: ir.TensorProtocol | None = None

    def attributes(self) -> list[ir.Attr]:
        """Attributes of the QuantizeLinear and of the DequantizeLinear, which are the same."""
        listed = [] if self.axis is None else [ir.AttrInt64("axis", self.axis)]
        return [*listed, ir.AttrInt64("block_size", self.block)] if self.block else listed

    def zeros(self) -> Array:
        """Zero points, in the quantised type; written out even if all 0, as ONNX takes none to mean UINT8."""
        return np.zeros(self.scale.shape, self.kind.numpy()) if self.zero is None else self.zero


def spread(pair: Pair, array: Array, shape: tuple[int, ...]) -> Array:
    """Scales or zero points of a pair, as float32, broadcastable to a tensor of `shape`."""
    array = array.astype(np.float32)
    if pair.axis is None:
        return array
    if pair.block:
        return over_blocks(array, pair.block, pair.axis, shape[pair.axis])
    return array.reshape([-1 if i == pair.axis % len(shape) else 1 for i in range(len(shape))])


def over_blocks(array: Array, block: int, axis: int, length: int) -> Array:
    """Numbers of blocks, repeated for each element of the block.

    Args:
        array: one number for each block along the axis.
        block: elements in each; the last one may be cut.
        axis: that blocks lie along.
        length: elements along the axis.
    """
    return np.take(np.repeat(array, block, axis=axis), range(length), axis=axis)


def bounds(pair: Pair) -> tuple[Array, Array]:
    """The lowest and the highest number of a pair's grid, float32 in the shape of its scales."""
    low, high = (np.float32(limit) for limit in (pair.kind.min, pair.kind.max))
    zeros = pair.zeros().astype(np.float32)
    return (low - zeros) * pair.scale, (high - zeros) * pair.scale


def activation_pair(name: str, limit: float, grid: Grid) -> Pair:
    """The pair of an activation whose range is +-`limit`, or 0 to `limit` on a grid without a sign."""
    # One scale per tensor: with one per channel TensorRT-RTX builds, and computes dequantised.
    scale = np.asarray(activation_scale(limit, grid.steps), np.float32)
    return Pair(name, scale, grid.kind, np.asarray(grid.zero, grid.kind.numpy()))


def weight_pair(
    name: str, tensor: ir.TensorProtocol, precision: Precision, axis: int | None, base: ir.DataType
) -> Pair:
    """The pair of weights with a scale for each channel along `axis`; what is stored is made when written.

    Scales are as rounded to `base`.

    Args:
        name: what the pair's values are named after.
        tensor: float weights.
        precision: a quantised one.
        axis: that of the channels; None gives all weights one scale.
        base: float type of the scales and of what the pair gives.
    """
    kind, largest, block = precision.quantized_type, precision.largest, precision.block_size
    assert kind is not None
    scales = weight_scales(tensor.numpy(), axis, largest, base, block)

    def make() -> Array:
        return on_grid(tensor.numpy(), scales, axis, largest, kind, block)

    # Scales are computed now, as they are small; the grid is as large
    # as the weights and waits for the writer.
    grid = lazy_tensor(name, kind, tensor.shape, make)
    if block and axis is not None:
        return Pair(name, scales, kind, axis=1 - axis, block=block, stored=grid)
    return Pair(name, scales, kind, axis=axis, stored=grid)


def lazy_tensor(
    name: str, data_type: ir.DataType, shape: ir.ShapeProtocol, make: Callable[[], Array]
) -> ir.LazyTensor:
    """A tensor that is computed each time it is written, and not kept: candidates hold no weights.

    Args:
        name: the tensor's.
        data_type: what `make` gives, as ONNX has it.
        shape: of what `make` gives.
        make: computes the values.
    """
    sizes = ir.Shape(shape.numpy())
    return ir.LazyTensor(lambda: ir.Tensor(make(), dtype=data_type, name=name), data_type, sizes, name=name)
