"""Scales on two levels, as in NVFP4: one for a few values in a row, each a multiple of the tensor's.

Weights are stored with both. Of activations the scale of the tensor comes from calibration, and those of
blocks are found as they run, by an operator of TensorRT that ONNX does not have. Source of the form: TensorRT
documentation, "Working with Quantized Types"; what ModelOpt exports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from autoprec.graph.grids.pairs import Array, lazy_tensor
from autoprec.graph.grids.weights import level_scales, on_grid
from autoprec.precisions import Precision

DOMAIN, QUANTIZER = "trt", "TRT_FP4DynamicQuantize"
OPSET, IR_VERSION = 23, 11
"""The first that have 4-bit floats. Opset 23 only adds to the types of what 22 has, and new operators."""
_RANKS = (2, 3)
"""Ranks that the operator takes (TensorRT-RTX 1.7.1)."""
FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64


class Levels(NamedTuple):
    """The two levels of scales that one value is quantised with.

    Attributes:
        name: levels of one value and one name are the same.
        kind, scale_kind: types of what is stored, and of the scales of blocks.
        whole: the scale of the tensor.
        axis, block: this many values in a row along the axis share a scale.
        stored, scales: of weights; None for an activation.
    """

    name: str
    kind: ir.DataType
    scale_kind: ir.DataType
    whole: np.float32
    axis: int
    block: int
    stored: ir.TensorProtocol | None = None
    scales: ir.TensorProtocol | None = None


def activation_levels(name: str, limit: float, precision: Precision) -> Levels:
    """Levels of an activation whose range is +-`limit`, in blocks along its last axis."""
    kind, scale_kind = _kinds(precision)
    # So that the block with the largest value gets the largest scale that FP8 holds.
    reach = precision.largest * float(np.float32(scale_kind.max))
    # A denormal range would underflow to a scale of 0, which TensorRT refuses.
    whole = np.maximum(np.float32(limit / reach), np.finfo(np.float32).tiny)
    return Levels(name, kind, scale_kind, whole, -1, precision.block_size)


def weight_levels(name: str, tensor: ir.TensorProtocol, precision: Precision, axis: int) -> Levels:
    """Levels of a weight matrix with its channels along `axis`; stored values are computed when written.

    Args:
        name: what the stored tensors are named after.
        tensor: float weights.
        precision: quantised in blocks, with scales of its own type.
        axis: that of the channels.
    """
    kind, scale_kind = _kinds(precision)
    largest, block = precision.largest, precision.block_size
    whole, scales = level_scales(tensor.numpy(), axis, largest, scale_kind, block)

    def make() -> Array:
        # By the scales as FP8 stores them: weights rounded on exact ones
        # would be off by the scale's own error.
        return on_grid(tensor.numpy(), scales.astype(np.float32) * whole, axis, largest, kind, block)

    stored = lazy_tensor(name, kind, tensor.shape, make)
    fine = ir.Tensor(scales, dtype=scale_kind, name=f"{name}/scale")
    # Blocks lie along the other axis: the one that a product sums.
    return Levels(name, kind, scale_kind, whole, 1 - axis, block, stored, fine)


def levelled(
    levels: Levels,
    value: ir.Value,
    base: ir.DataType,
    constant: Callable[[str, ir.TensorProtocol], ir.Value],
    free: Callable[[str], str],
) -> list[ir.Node]:
    """The nodes that quantise and dequantise a value; the last one makes the result, in `base`.

    Args:
        levels: from this module.
        value: an activation in `base`, of known rank; of weights only the shape is read.
        base: float type.
        constant: registers an initializer.
        free: a node's name that nothing else has.
    """
    chain = _Chain(levels.name, constant, free)
    assert value.shape is not None
    shape, flat = value.shape, value.shape
    whole = constant(f"{levels.name}/whole", ir.tensor(levels.whole, FLOAT))
    if levels.stored is not None and levels.scales is not None:
        stored = constant(levels.name, levels.stored)
        scales = constant(f"{levels.name}/scale", levels.scales)
        axis = levels.axis
    else:
        if len(shape) not in _RANKS:
            flat = ir.Shape([None, shape[-1]])
            value = chain.reshape(value, [-1, int(shape[-1])], flat)  # type: ignore[arg-type]
        stored, scales = chain.quantize(levels, value, whole, flat)
        axis = len(flat) - 1
    # The tensor's scale is FP32, and a DQ gives the type of its scale:
    # a half-precision base needs a Cast behind.
    fine = chain.add("DequantizeLinear", "scale/dq", [scales, whole], FLOAT, scales.shape)
    attributes = {"axis": axis, "block_size": levels.block}
    result = chain.add("DequantizeLinear", "dq", [stored, fine], FLOAT, flat, **attributes)
    if base != FLOAT:
        result = chain.add("Cast", "cast", [result], base, flat, to=base.value)
    if flat is not shape:
        back = [length if isinstance(length, int) else -1 for length in shape]
        chain.reshape(result, back, shape)
    return chain.nodes


def with_levels(model: ir.Model) -> ir.Model:
    """Raise a model's opset and IR version, in place, to the first that have 4-bit floats; returns it."""
    imports = model.graph.opset_imports
    imports[""], imports[DOMAIN] = max(imports[""], OPSET), 1
    model.ir_version = max(model.ir_version, IR_VERSION)
    return model


class _Chain:
    """Nodes of one value's levels. Outputs are typed here, since inference does not know the quantiser."""

    def __init__(
        self, name: str, constant: Callable[[str, ir.TensorProtocol], ir.Value], free: Callable[[str], str]
    ) -> None:
        self.nodes: list[ir.Node] = []
        self._name, self._constant, self._free = name, constant, free

    def add(
        self,
        op: str,
        label: str,
        inputs: list[ir.Value],
        kind: ir.DataType,
        shape: ir.Shape | None,
        **attributes: int,
    ) -> ir.Value:
        """One node, and its output."""
        result = ir.Value(name=f"{self._name}/{label}", shape=shape, type=ir.TensorType(kind))
        name = self._free(f"autoprec/{label}/{self._name}")
        self.nodes.append(ir.node(op, inputs, attributes, outputs=[result], name=name))
        return result

    def quantize(
        self, levels: Levels, value: ir.Value, whole: ir.Value, shape: ir.Shape
    ) -> tuple[ir.Value, ir.Value]:
        """The quantised values and the block scales of an activation."""
        label, last = levels.name, shape[-1]
        blocks = last // levels.block if isinstance(last, int) else None
        stored = ir.Value(name=f"{label}/q", shape=shape, type=ir.TensorType(levels.kind))
        scales = ir.Value(
            name=f"{label}/scale",
            shape=ir.Shape([*shape[:-1], blocks]),
            type=ir.TensorType(levels.scale_kind),
        )
        attributes: dict[str, Any] = {
            "axis": len(shape) - 1,
            "block_size": levels.block,
            "scale_type": levels.scale_kind.value,
        }
        name, output = self._free(f"autoprec/q/{label}"), [stored, scales]
        self.nodes.append(
            ir.node(QUANTIZER, [value, whole], attributes, domain=DOMAIN, outputs=output, name=name)
        )
        return stored, scales

    def reshape(self, value: ir.Value, lengths: list[int], shape: ir.Shape) -> ir.Value:
        """A value in another shape, of the same type."""
        assert value.dtype is not None
        label = f"as/{'x'.join(map(str, lengths))}"
        sizes = self._constant(f"{self._name}/{label}/sizes", ir.tensor(lengths, INT64))
        return self.add("Reshape", label, [value, sizes], value.dtype, shape)


def _kinds(precision: Precision) -> tuple[ir.DataType, ir.DataType]:
    assert precision.quantized_type is not None
    assert precision.scale_type is not None
    return precision.quantized_type, precision.scale_type
