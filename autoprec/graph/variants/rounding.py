"""Rounding of weights learned on calibration data, and biases that take back the mean error.

Source of the objective: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML
2020 (arXiv:2004.10568), equation 20: each weight goes up or down, so that the op's output changes least. It
is solved by coordinate descent on the exact quadratic form, one weight at a time as in Frantar et al.,
"Optimal Brain Compression", 2022 (arXiv:2208.11580): it starts at rounding to nearest and never gets worse.
Bias correction: Nagel et al., "Data-Free Quantization", ICCV 2019 (arXiv:1906.04721), with measured means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from autoprec.graph.grids.weights import on_grid, weight_scales
from autoprec.graph.ops.matrices import matrices, restored
from autoprec.graph.ops.placement import channel_axis
from autoprec.graph.ops.pointwise import is_about
from autoprec.graph.statistics.moments import Moments
from autoprec.graph.variants.edits import Edits, Work
from autoprec.precisions import Precision

Floats = NDArray[Any]

SWEEPS = 4
"""Rounds over all weights; few change in the fourth."""
_BATCH = 64
"""Weights of a row whose gradient is kept up to date one by one; all others' is updated once for all of them,
as one product of matrices: Frantar et al., "GPTQ", ICLR 2023 (arXiv:2210.17323), step 2."""
_DAMPING = 1e-4
"""Added to the diagonal, as a part of its mean: directions that the data never shows are not free."""


def cure(edits: Edits, work: Work) -> Edits:
    """The pass of `+adaround` and `+bias`."""
    return refine(edits, work.nodes, work.moments, work.steps(edits), work.precision)


def refine(
    edits: Edits,
    nodes: Sequence[ir.Node],
    moments: Mapping[str, Moments],
    steps: Mapping[str, float],
    precision: Precision,
) -> Edits:
    """Edits with weights rounded and biases corrected on top of earlier changes, as the variant says.

    Args:
        edits: what the variant changes already.
        nodes: of the block.
        moments: by node name; a node without is left as it is.
        steps: width of a step of each node's first input, by node name.
        precision: the variant.
    """
    constants = dict(edits.constants)
    for node in nodes:
        name = str(node.name)
        # A node without moments is too large for them, or of a kind whose rows are not read.
        if name not in moments or name not in steps:
            continue
        if not is_about(precision, node):
            continue
        array = _read(constants, node, 1)
        assert array is not None
        weights, factors = matrices(node, array), edits.factors.get(name)
        if precision.learns_rounding:
            noise, levels = steps[name] ** 2 / 12, int(precision.largest)
            rounded = learned(weights, moments[name], factors, noise, levels)
            constants[name, 1] = _tensor(restored(node, rounded, array.shape), name, 1, precision)
        else:
            rounded = matrices(node, _nearest(node, array, precision))
        if precision.corrects_bias:
            shift = bias_shift(weights, rounded, moments[name], factors)
            for reader, place in _biases(node, len(shift)):
                bias = _read(constants, reader, place)
                total = shift if bias is None else (bias.reshape(-1) + shift).reshape(bias.shape)
                constants[str(reader.name), place] = _tensor(total, str(reader.name), place, precision)
    return edits._replace(constants=constants)


def learned(weights: Floats, moments: Moments, factors: Floats | None, noise: float, levels: int) -> Floats:
    """Weights on the grid that plain rounding would use, each rounded up or down.

    Args:
        weights: float [groups, outputs, inputs, taps].
        moments: of the op's input, before `factors`.
        factors: what each input channel is multiplied by, [channels]; None for 1.
        noise: variance of the input's own rounding error: step^2 / 12.
        levels: largest step of the grid.
    """
    groups, outputs, inputs, taps = weights.shape
    rows = weights.reshape(groups, outputs, inputs * taps).astype(np.float32)
    second = _scaled(moments, factors, taps).second
    diagonal = np.einsum("gkk->gk", second)
    # Rounding of the input is white noise on every number: it adds its variance to the diagonal alone.
    second = second + np.eye(inputs * taps, dtype=np.float32) * (
        noise + _DAMPING * diagonal.mean(axis=1)[:, None, None] + 1e-30
    )
    steps = np.abs(rows).max(axis=2, keepdims=True) / np.float32(levels)
    steps = np.where(steps > 0, steps, 1).astype(np.float32)
    grid = rows / steps
    free = np.abs(grid) <= levels - 0.001  # not the largest weight, which the scale is made from
    with ThreadpoolController().limit(limits=1, user_api="blas"):  # threads wait for one another in loops
        whole = _descended(_columns(grid), _columns(free), second)
    rounded: Floats = (whole.transpose(0, 2, 1) * steps).reshape(weights.shape)
    return rounded


def _columns(array: Floats) -> Floats:
    """Rows as contiguous float32 [groups, k, outputs]: the descent reads one k of all outputs at a time."""
    return np.ascontiguousarray(array.transpose(0, 2, 1), np.float32)


def _descended(grid: Floats, free: Floats, second: Floats) -> Floats:
    """Whole steps of each weight, float32 [groups, k, outputs]: those with `free` = 1 go up or down from
    `grid`, the others to nearest."""
    # No clipping: the scale is made from the largest weight, which is not free, so nothing leaves the grid.
    lower, whole = np.floor(grid), np.rint(grid)
    middle = lower + np.float32(0.5)
    # Gradient of e H e^T / 2, with e the rounding error of a row and H the second moments.
    gradient = np.matmul(second, whole - grid)
    pull = 1 / np.einsum("gkk->gk", second)[:, :, None]
    for _ in range(SWEEPS):
        for start in range(0, grid.shape[1], _BATCH):
            batch = slice(start, start + _BATCH)
            near, square, before = gradient[:, batch].copy(), second[:, batch, batch], whole[:, batch].copy()
            for j, k in enumerate(range(start, start + square.shape[1])):
                wanted = whole[:, k] - near[:, j] * pull[:, k]
                # `wanted` is the minimum along this weight; the nearer of the two levels around the float
                # weight is taken.
                change = (lower[:, k] + (wanted > middle[:, k]) - whole[:, k]) * free[:, k]
                if change.any():
                    whole[:, k] += change
                    # Only weights still to come in this batch: those before it have
                    # had their turn, until the next sweep.
                    near[:, j + 1 :] += square[:, j + 1 :, j, None] * change[:, None]
            gradient += np.matmul(second[:, :, batch], whole[:, batch] - before)
    return whole


def bias_shift(
    weights: Floats, rounded: Floats, moments: Moments, factors: Floats | None
) -> NDArray[np.float32]:
    """What to add to the bias so that outputs keep their means, [channels].

    Args:
        weights: [groups, outputs, inputs, taps] before rounding.
        rounded: the same, as they are on the grid.
        moments: of what the op multiplies.
        factors: by which its input channels are multiplied beforehand; None for 1.
    """
    groups, outputs, inputs, taps = weights.shape
    means = _scaled(moments, factors, taps).mean
    lost = (weights - rounded).reshape(groups, outputs, inputs * taps)
    shift: NDArray[np.float32] = np.matmul(lost, means[:, :, None]).reshape(-1).astype(np.float32)
    return shift


def _scaled(moments: Moments, factors: Floats | None, taps: int) -> Moments:
    """Moments after each input channel is multiplied by its factor."""
    if factors is None:
        return moments
    spread = np.repeat(factors.reshape(len(moments.mean), -1), taps, axis=1).astype(np.float32)
    return Moments(moments.second * spread[:, :, None] * spread[:, None, :], moments.mean * spread)


def _nearest(node: ir.Node, array: Floats, precision: Precision) -> Floats:
    """Weights as plain quantisation rounds them."""
    kind = precision.quantized_type
    assert kind is not None
    assert node.inputs[1] is not None
    axis = channel_axis(node, node.inputs[1])
    scales = weight_scales(array, axis, precision.largest, ir.DataType.FLOAT)
    grid = on_grid(array, scales, axis, precision.largest, kind)
    shape = [-1 if i == axis else 1 for i in range(array.ndim)] if axis is not None else []
    rounded: Floats = grid.astype(np.float32) * scales.reshape(shape)
    return rounded


def _biases(node: ir.Node, channels: int) -> list[tuple[ir.Node, int]]:
    """Where a node's bias is read: its third input, or the Add behind a product; empty if nowhere."""
    if node.op_type == "MatMul":
        # A MatMul has no bias of its own; exporters put an Add behind it, with the constant on either side.
        uses = list(node.outputs[0].uses())
        if len(uses) != 1 or uses[0].node.op_type != "Add":
            return []
        reader, place = uses[0].node, 1 - uses[0].idx
        other = reader.inputs[place]
        constant = other is not None and other.const_value is not None and other.const_value.size == channels
        return [(reader, place)] if constant else []
    if node.op_type == "Gemm" and len(node.inputs) > 2 and node.inputs[2] is not None:
        tensor = node.inputs[2].const_value
        # A bias that broadcasts one number, or that `beta` scales, cannot take the shift as it is.
        if tensor is None or tensor.size != channels or node.attributes.get_float("beta", 1.0) != 1:
            return []
    return [(node, 2)]


def _read(constants: Mapping[tuple[str, int], ir.TensorProtocol], node: ir.Node, place: int) -> Floats | None:
    """A node's constant input, as edited so far or else as it came; None without one."""
    if (str(node.name), place) in constants:
        return constants[str(node.name), place].numpy()
    value = node.inputs[place] if place < len(node.inputs) else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _tensor(array: Floats, node: str, place: int, precision: Precision) -> ir.TensorProtocol:
    return ir.tensor(array.astype(np.float32), name=f"autoprec/{precision.name}/{node}/{place}")
