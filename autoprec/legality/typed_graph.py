"""Graphs typed as candidates are: Casts at the borders, Q/DQ in front of the operator, weights stored
quantised. What `patterns.py` draws its patterns with.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from autoprec.precisions import Precision

OPSET = 22  # as the rewriter's: types that the parser refuses depend on what ONNX allows
LEVELS_OPSET = 23  # the first with 4-bit floats


class TypedGraph:
    """A graph under construction, whose tensors have the types of one precision.

    Args:
        precision: what the pattern is typed in.
        base: float type around a quantised operator.
        widened: op types that compute in FLOAT between Casts.
    """

    def __init__(self, precision: Precision, base: ir.DataType, widened: Container[str] = ()) -> None:
        self.precision = precision
        self._widened = widened
        self.float_type = precision.float_type or base
        self._inputs: list[ir.Value] = []
        self._constants: list[ir.Value] = []
        self._nodes: list[ir.Node] = []
        self._random = np.random.default_rng(0)
        self._has_levels = precision.scale_type is not None

    def input(self, *shape: int) -> ir.Value:
        """A float32 input of the graph, cast to the float type."""
        name = f"x{len(self._inputs)}"
        self._inputs.append(_value(name, ir.DataType.FLOAT, shape))
        return self._cast(self._inputs[-1], self.float_type)

    def constant(self, array: Any, dtype: ir.DataType) -> ir.Value:
        """An initializer of the given type."""
        name = f"c{len(self._constants)}"
        tensor = ir.tensor(np.asarray(array).astype(dtype.numpy()), dtype=dtype, name=name)
        self._constants.append(_value(name, dtype, tuple(tensor.shape), tensor))
        return self._constants[-1]

    def parameter(self, *shape: int) -> ir.Value:
        """Random parameters of the float type."""
        return self.constant(0.1 * self._random.standard_normal(shape), self.float_type)

    def weight(self, *shape: int, axis: int) -> ir.Value:
        """Random weights; quantised per channel along `axis`, or in blocks along a matrix's other axis."""
        precision = self.precision
        if precision.quantized_type is None:
            return self.parameter(*shape)
        grid = np.rint(self._random.uniform(-precision.largest, precision.largest, shape))
        size = precision.block_size
        scales = tuple(n if i == axis else n // size for i, n in enumerate(shape)) if size else (shape[axis],)
        where: dict[str, Any] = {"axis": 1 - axis, "block_size": size} if size else {"axis": axis}
        stored = self.constant(grid, precision.quantized_type)
        if precision.scale_type is not None:
            whole = self.constant(0.2 / self._reach, ir.DataType.FLOAT)
            fine = self.constant(np.full(scales, float(precision.scale_type.max)), precision.scale_type)
            return self._dequantized(stored, fine, whole, 1 - axis)
        scale = self.constant(np.full(scales, 0.2 / precision.largest), self.float_type)
        zero = self.constant(np.zeros(scales), precision.quantized_type)
        return self.add("DequantizeLinear", stored, scale, zero, **where)

    def activation(self, value: ir.Value) -> ir.Value:
        """`value` through a Q/DQ pair with one scale, where the precision quantises activations."""
        precision = self.precision
        if precision.quantized_type is None or precision.weights_only:
            return value
        if precision.scale_type is not None:
            return self._in_blocks(value, precision.scale_type)
        scale = self.constant(4 / precision.largest, self.float_type)
        zero = self.constant(0, precision.quantized_type)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", value, scale, zero), scale, zero)

    def _in_blocks(self, value: ir.Value, scale_type: ir.DataType) -> ir.Value:
        """`value`, of two or three axes, through blocks whose scales are found as they run."""
        whole = self.constant(4 / self._reach, ir.DataType.FLOAT)
        axis = len(self._inputs[-1].shape or ()) - 1
        attributes = {"axis": axis, "block_size": self.precision.block_size, "scale_type": scale_type.value}
        node = ir.node("TRT_FP4DynamicQuantize", [value, whole], attributes, domain="trt", num_outputs=2)
        stored, fine = node.outputs
        node.name, stored.name, fine.name = "blocks", "blocks/values", "blocks/scales"
        self._nodes.append(node)
        return self._dequantized(stored, fine, whole, axis)

    def _dequantized(self, stored: ir.Value, fine: ir.Value, whole: ir.Value, axis: int) -> ir.Value:
        """What is stored with scales on two levels, in the float type."""
        scales = self.add("DequantizeLinear", fine, whole)
        made = self.add("DequantizeLinear", stored, scales, axis=axis, block_size=self.precision.block_size)
        return self._cast(made, self.float_type)

    @property
    def _reach(self) -> float:
        """The largest magnitude that a scale of 1 for the tensor gives."""
        assert self.precision.scale_type is not None
        return self.precision.largest * float(self.precision.scale_type.max)

    def add(self, op: str, *inputs: ir.Value | None, name: str = "", **attributes: Any) -> ir.Value:
        """One node, and its only output."""
        if op in self._widened and self.float_type != ir.DataType.FLOAT:
            inputs = tuple(None if v is None else self._cast(v, ir.DataType.FLOAT) for v in inputs)
            return self._cast(self._node(op, inputs, name, attributes), self.float_type)
        return self._node(op, inputs, name, attributes)

    def _node(
        self, op: str, inputs: Sequence[ir.Value | None], name: str, attributes: Mapping[str, Any]
    ) -> ir.Value:
        number = len(self._nodes)
        self._nodes.append(ir.node(op, inputs, attributes, name=name or f"{op}_{number}"))
        output = self._nodes[-1].outputs[0]
        output.name = f"v{number}"
        return output

    def model(self, result: ir.Value) -> onnx.ModelProto:
        """The finished model, its output `y` cast to float32."""
        result = self._cast(result, ir.DataType.FLOAT)
        result.name, result.type = "y", ir.TensorType(ir.DataType.FLOAT)
        graph = ir.Graph(
            self._inputs, [result], nodes=self._nodes, initializers=self._constants,
            opset_imports={"": LEVELS_OPSET, "trt": 1} if self._has_levels else {"": OPSET}, name="probe",
        )  # fmt: skip
        return ir.to_proto(ir.Model(graph, ir_version=11 if self._has_levels else 10))

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """A border of the graph as `dtype`; nothing to do in a graph that is float32 throughout."""
        if self.float_type == ir.DataType.FLOAT:
            return value
        return self.add("Cast", value, to=int(dtype))


def _value(
    name: str, dtype: ir.DataType, shape: tuple[Any, ...], const: ir.TensorProtocol | None = None
) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape), const_value=const)
