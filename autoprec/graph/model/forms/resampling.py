"""Resampling that engines compute differently, written as products with constant matrices.

Resize with `antialias`, `exclude_outside` or a policy that keeps the aspect ratio departs from ONNX in
OpenVINO (2026.4.1), and TensorRT has none of them; OpenVINO refuses coordinates that are symmetric, or of a
region. It is separable: a matrix for each axis, or a Gather where it takes the nearest.
Source: ONNX, "Resize".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.model.passing import constant, placed, replace

Matrix = NDArray[np.float64]
Places = NDArray[np.int64]
_WAYS = frozenset({"half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"})
_SYMMETRIC, _REGION = "half_pixel_symmetric", "tf_crop_and_resize"


class _Axis(NamedTuple):
    """How one axis is resampled: sizes before and after, the scale that coordinates go by, and the region."""

    before: int
    after: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)


def with_matrices(graph: ir.Graph) -> None:
    """Write such Resize nodes over the last two axes as MatMuls or Gathers, in place.

    The graph has shapes.
    """
    for node in list(graph):
        if node.op_type != "Resize" or node.domain != "" or not _departs(node):
            continue
        axes = _axes(node)
        if axes is None or not _is_within(node, axes):
            continue
        if _mode(node) == "nearest":
            _write_gathers(graph, node, axes)
        else:
            _write(graph, node, axes)


def _departs(node: ir.Node) -> bool:
    if _way(node) not in _WAYS:
        return _way(node) == _SYMMETRIC or (_way(node) == _REGION and _numbers(node, 1) is not None)
    if _policy(node) != "stretch":
        return True
    smooths = node.attributes.get_int("antialias", 0) or node.attributes.get_int("exclude_outside", 0)
    return bool(smooths) and _mode(node) in ("linear", "cubic")


def _is_within(node: ir.Node, axes: tuple[_Axis, _Axis]) -> bool:
    """Whether the result lies inside the image: beyond it a region takes the extrapolation value."""
    return _way(node) != _REGION or all(
        0 <= _coordinate(node, axis, place) <= axis.before - 1 for axis in axes for place in range(axis.after)
    )


def _way(node: ir.Node) -> str:
    return str(node.attributes.get_string("coordinate_transformation_mode", "half_pixel"))


def _mode(node: ir.Node) -> str:
    return str(node.attributes.get_string("mode", "nearest"))


def _policy(node: ir.Node) -> str:
    """The policy for sizes in another aspect ratio; scales have none."""
    if _numbers(node, 3) is None:
        return "stretch"
    return str(node.attributes.get_string("keep_aspect_ratio_policy", "stretch"))


def _axes(node: ir.Node) -> tuple[_Axis, _Axis] | None:
    """The last two axes; None where others change too, or anything is unknown."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is None or not shape.is_static() or len(shape) < 2:
        return None
    before = [int(str(size)) for size in shape]
    scales, sizes = (_numbers(node, place) for place in (2, 3))
    listed = [placed(axis, len(before)) for axis in node.attributes.get_ints("axes", range(len(before)))]
    axes = [_Axis(size, size, 1.0) for size in before]
    if sizes is not None and len(sizes) == len(listed):
        scaled = [int(size) / before[axis] for axis, size in zip(listed, sizes, strict=True)]
        if (policy := _policy(node)) != "stretch":
            both = min(scaled) if policy == "not_larger" else max(scaled)
            # ONNX rounds halves up here, where Python would round them to even.
            sizes = np.array([math.floor(before[axis] * both + 0.5) for axis in listed])
            scaled = [both] * len(listed)
        for axis, size, scale in zip(listed, sizes, scaled, strict=True):
            axes[axis] = _Axis(before[axis], int(size), scale)
    elif scales is not None and len(scales) == len(listed):
        for axis, scale in zip(listed, scales, strict=True):
            axes[axis] = _Axis(before[axis], math.floor(before[axis] * scale), float(scale))
    else:
        return None
    for axis, ends in _regions(node, listed):
        axes[axis] = axes[axis]._replace(region=ends)
    if any(axis.region != (0, 1) for axis in axes[:-2]) or any(
        axis.before != axis.after or axis.scale != 1 for axis in axes[:-2]
    ):
        return None
    return axes[-2], axes[-1]


def _regions(node: ir.Node, listed: Sequence[int]) -> list[tuple[int, tuple[float, float]]]:
    """Where each axis that a node lists begins and ends, in parts of the image."""
    corners = _numbers(node, 1)
    if _way(node) != _REGION or corners is None:
        return []
    starts, ends = corners.reshape(2, -1).tolist()
    return list(zip(listed, zip(starts, ends, strict=True), strict=True))


def _numbers(node: ir.Node, place: int) -> NDArray[np.float32] | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None or value.const_value is None or not value.const_value.size:
        return None
    array: NDArray[np.float32] = value.const_value.numpy()
    return array


def _write(graph: ir.Graph, node: ir.Node, axes: tuple[_Axis, _Axis]) -> None:
    rows, columns = (_matrix(node, axis).astype(np.float32) for axis in axes)
    name = node.outputs[0].name
    left = constant(graph, f"{name}/rows", rows)
    right = constant(graph, f"{name}/columns", np.ascontiguousarray(columns.T))
    first = ir.node("MatMul", [node.inputs[0], right], name=f"{node.name}/columns")
    value, source = first.outputs[0], node.inputs[0]
    assert source is not None
    assert source.shape is not None
    value.name, value.type = f"{name}/wide", source.type
    value.shape = ir.Shape([*source.shape[:-1], axes[1].after])
    replace(graph, node, [first, ir.node("MatMul", [left, value], name=f"{node.name}/rows")])


def _write_gathers(graph: ir.Graph, node: ir.Node, axes: tuple[_Axis, _Axis]) -> None:
    name, source = node.outputs[0].name, node.inputs[0]
    assert source is not None
    assert source.shape is not None
    columns = constant(graph, f"{name}/columns", _nearest(node, axes[1]))
    rows = constant(graph, f"{name}/rows", _nearest(node, axes[0]))
    rank = len(source.shape)
    first = ir.node("Gather", [source, columns], {"axis": rank - 1}, name=f"{node.name}/columns")
    value = first.outputs[0]
    value.name, value.type = f"{name}/wide", source.type
    value.shape = ir.Shape([*source.shape[:-1], axes[1].after])
    second = ir.node("Gather", [value, rows], {"axis": rank - 2}, name=f"{node.name}/rows")
    replace(graph, node, [first, second])


def _nearest(node: ir.Node, axis: _Axis) -> Places:
    """The source index of each place of the result, [after]; ties are decided in float32."""
    centres = np.array([_coordinate(node, axis, place) for place in range(axis.after)], np.float32)
    ways = {
        "round_prefer_floor": np.ceil(centres - np.float32(0.5)),
        "round_prefer_ceil": np.floor(centres + np.float32(0.5)),
        "floor": np.floor(centres),
        "ceil": np.ceil(centres),
    }
    nearest = ways[str(node.attributes.get_string("nearest_mode", "round_prefer_floor"))]
    places: Places = np.clip(nearest, 0, axis.before - 1).astype(np.int64)
    return places


def _matrix(node: ir.Node, axis: _Axis) -> Matrix:
    """The weight of each source place in each place of the result, float64 [after, before]."""
    cubic = _mode(node) == "cubic"
    sharpness = node.attributes.get_float("cubic_coeff_a", -0.75)
    outside = bool(node.attributes.get_int("exclude_outside", 0)) and cubic
    # Antialiasing stretches the kernel over what a place of the
    # result covers, and only where an axis shrinks.
    smooths = bool(node.attributes.get_int("antialias", 0)) and axis.scale < 1
    shrink = axis.scale if smooths else 1.0
    reach = (2 if cubic else 1) / shrink
    matrix = np.zeros((axis.after, axis.before))
    for place in range(axis.after):
        centre = _coordinate(node, axis, place)
        near = np.arange(math.floor(centre - reach), math.ceil(centre + reach) + 1)
        distance = np.abs(near - centre) * shrink
        weights = _cubic(distance, sharpness) if cubic else np.maximum(0, 1 - distance)
        inside = (near >= 0) & (near < axis.before)
        if outside:
            weights = weights * inside
        if outside or smooths or cubic:
            weights = weights / weights.sum()
        # Several places beyond an edge fall on the edge: an assignment would keep the weight of one of them.
        np.add.at(matrix[place], np.clip(near, 0, axis.before - 1), weights)
    return matrix


def _coordinate(node: ir.Node, axis: _Axis, place: int) -> float:
    """The source coordinate of a place of the result."""
    way = _way(node)
    if way == "asymmetric":
        return place / axis.scale
    if way == "align_corners":
        return place * (axis.before - 1) / (axis.after - 1) if axis.after > 1 else 0.0
    if way == "pytorch_half_pixel" and axis.after == 1:
        return 0.0
    if way == _REGION:
        (start, end), last = axis.region, axis.before - 1
        inside = place / (axis.after - 1) if axis.after > 1 else 0.5
        return (start + inside * (end - start)) * last
    cut = axis.after / (axis.scale * axis.before) if way == _SYMMETRIC else 1.0
    return axis.before / 2 * (1 - cut) + (place + 0.5) / axis.scale - 0.5


def _cubic(distance: Matrix, a: float) -> Matrix:
    """Keys' cubic convolution kernel (IEEE TASSP 29, 1981)."""
    inner = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    outer = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, inner, np.where(distance < 2, outer, 0))
