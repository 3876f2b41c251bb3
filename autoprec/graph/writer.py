"""Writing a typed copy of a graph, node by node: one Cast for each value and type, shared Q/DQ pairs.

A Cast always starts from the value as it was made, so types never go back and forth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.incoming import Given, given, given_output
from autoprec.graph.placement import block_inputs, channel_axis, quantized_inputs
from autoprec.graph.support import float_types, output_types, supports
from autoprec.graph.weights import activation_scale, converted, on_grid, weight_scales
from autoprec.precisions import Precision

FLOAT = ir.DataType.FLOAT


class Writer:
    """One typed copy of `source`.

    Args:
        source: the float model; untouched.
        base: float type of quantised blocks.
        ranges: largest magnitude to represent of each activation, by value name, in a given precision.
    """

    def __init__(
        self,
        source: ir.Model,
        base: ir.DataType,
        ranges: Callable[[Precision], Mapping[str, float]],
    ) -> None:
        self._source = source
        self._base = base
        self._ranges = ranges
        self._opset = source.graph.opset_imports[""]
        self._nodes: list[ir.Node] = []
        self._initializers: dict[str, ir.Value] = {}
        self._values: dict[tuple[ir.Value, str], ir.Value] = {}
        self._made: dict[ir.Value, ir.Value] = {}
        self._outputs = set(source.graph.outputs)
        self._behind_pairs: set[ir.Value] = set()
        self._taken = _prefixes(source.graph)

    def write(self, precision_of: Callable[[ir.Node], Precision]) -> ir.Model:
        """The copy: every node in its precision, inputs and outputs as they were."""
        inputs = [self._new(value, value.dtype, str(value.name)) for value in self._source.graph.inputs]
        for node in self._source.graph:
            self._write_node(node, precision_of(node))
        outputs = [self._output(value) for value in self._source.graph.outputs]
        graph = ir.Graph(
            inputs,
            outputs,
            nodes=self._nodes,
            initializers=list(self._initializers.values()),
            opset_imports=dict(self._source.graph.opset_imports),
            name=self._source.graph.name or "autoprec",
        )
        return ir.Model(
            graph,
            ir_version=max(self._source.ir_version, 10),
            producer_name="autoprec",
            metadata_props=dict(self._source.metadata_props),
        )

    def _write_node(self, node: ir.Node, precision: Precision) -> None:
        wanted = precision.float_type or self._base
        own = wanted if supports(node, wanted, self._opset) else FLOAT
        places = self._quantized_places(node, precision)
        inputs: list[ir.Value | None] = []
        for place, value in enumerate(node.inputs):
            if value is None or value.dtype != FLOAT:
                inputs.append(None if value is None else self._plain(value))
            elif place in places:
                pair = given(node).get(place)
                found = self._given(value, pair) if pair else self._quantized(node, value, precision)
                inputs.append(found)
            else:
                allowed = float_types(node, place, self._opset)
                inputs.append(self._typed(value, own if own in allowed else FLOAT))
        reads_float = any(value is not None and value.dtype == FLOAT for value in node.inputs)
        types = output_types(node, self._opset, own if reads_float else FLOAT)
        if precision.is_quantized:
            self._behind_pairs |= {value for value in node.outputs if given_output(value) is not None}
        outputs = [
            self._result(value, data_type) for value, data_type in zip(node.outputs, types, strict=True)
        ]
        self._nodes.append(
            ir.Node(
                node.domain,
                node.op_type,
                inputs,
                node.attributes,
                outputs=outputs,
                name=node.name,
                metadata_props=dict(node.metadata_props),
            )
        )

    def _quantized_places(self, node: ir.Node, precision: Precision) -> tuple[int, ...]:
        if precision.is_quantized and given(node):
            return tuple(given(node))
        if node.op_type not in precision.quantized_ops:
            return ()
        if precision.weights_only:
            return block_inputs(node, precision.block_size)
        return quantized_inputs(node, self._ranges(precision))

    def _result(self, value: ir.Value, data_type: ir.DataType | None) -> ir.Value:
        """A new value for what a node makes. One that is an output of the graph in another type steps aside
        for the Cast that will carry its name."""
        name = str(value.name)
        if value in self._outputs and data_type != value.dtype:
            name = self._free(f"autoprec/made/{name}")
        return self._new(value, data_type, name)

    def _new(self, value: ir.Value, data_type: ir.DataType | None, name: str) -> ir.Value:
        """The copy of a value as it is made."""
        made = ir.Value(name=name, shape=value.shape, type=_typed_as(value, data_type))
        self._made[value] = made
        return made

    def _free(self, name: str) -> str:
        """A name that neither is in the source nor begins one there: candidates may be rewritten again."""
        while name in self._taken:
            name += "_"
        return name

    def _output(self, value: ir.Value) -> ir.Value:
        """An output of the graph, with its own name and type."""
        pair = given_output(value)
        if pair is not None and value in self._behind_pairs:
            found = self._given(value, pair)
            if found.dtype == FLOAT:
                found.name = str(value.name)
                return found
            return self._cast(value, found, FLOAT, str(value.name))
        return self._typed(value, FLOAT) if value.dtype == FLOAT else self._plain(value)

    def _plain(self, value: ir.Value) -> ir.Value:
        """A value that holds no FLOAT tensor, as it is."""
        if value not in self._made:
            assert value.const_value is not None, f"{value.name} is read before it is made"
            self._made[value] = self._constant(str(value.name), value.const_value)
        return self._made[value]

    def _typed(self, value: ir.Value, data_type: ir.DataType) -> ir.Value:
        """A FLOAT value in another float type: itself, its converted weights, or its one Cast."""
        key = (value, data_type.name)
        if key in self._values:
            return self._values[key]
        if value.const_value is not None:
            found = self._weights(value, data_type)
        else:
            made = self._made[value]
            found = made if made.dtype == data_type else self._cast(value, made, data_type)
        self._values[key] = found
        return found

    def _cast(self, value: ir.Value, made: ir.Value, data_type: ir.DataType) -> ir.Value:
        """The Cast of a value; it takes over the name of a graph's output."""
        cast = self._free(f"autoprec/cast/{value.name}/{data_type.name.lower()}")
        name = value.name if value in self._outputs and data_type == value.dtype else cast
        result = ir.Value(name=name, shape=value.shape, type=_typed_as(value, data_type))
        attributes = [ir.AttrInt64("to", data_type.value)]
        self._nodes.append(ir.Node("", "Cast", [made], attributes, outputs=[result], name=cast))
        return result

    def _weights(self, value: ir.Value, data_type: ir.DataType) -> ir.Value:
        """An initializer in another float type."""
        assert value.const_value is not None
        if data_type == FLOAT:
            return self._constant(str(value.name), value.const_value)
        name = self._free(f"{value.name}/{data_type.name.lower()}")
        tensor = value.const_value
        return self._constant(name, _lazy(tensor, name, data_type, lambda a: converted(a, data_type)))

    def _constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """An initializer of the copy; one for each name."""
        if name not in self._initializers:
            shape, kind = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
            self._initializers[name] = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
        return self._initializers[name]

    def _quantized(self, node: ir.Node, value: ir.Value, precision: Precision) -> ir.Value:
        """An input of a quantised op behind Q/DQ; weights are stored on the grid, behind DQ alone."""
        assert precision.quantized_type is not None
        axis = channel_axis(node, value) if value.const_value is not None else None
        label = f"{value.name}/{precision.quantized_type.name.lower()}" + (
            "" if axis is None else f"/axis{axis}"
        )
        if value.const_value is None and precision.range_method:
            label += f"/{precision.range_method}{precision.percentile or ''}"
        label = self._free(label)
        key = (value, label)
        if key not in self._values:
            self._values[key] = (
                self._quantized_weight(value, precision, axis, label)
                if value.const_value is not None
                else self._quantized_activation(value, precision, label)
            )
        return self._values[key]

    def _given(self, value: ir.Value, pair: Given) -> ir.Value:
        """A value behind the pair that the model brought."""
        label = f"{pair.name}/given"
        if (value, label) in self._values:
            return self._values[value, label]
        if pair.stored is not None:
            stored = self._constant(label, ir.Tensor(pair.stored, dtype=pair.kind, name=label))
        else:
            scales, zeros = self._grid(label, pair.scale, pair.kind, pair.zero)
            source = self._typed(value, self._base)
            stored = ir.Value(name=f"{label}/q", shape=value.shape, type=ir.TensorType(pair.kind))
            attributes = [] if pair.axis is None else [ir.AttrInt64("axis", pair.axis)]
            inputs = [source, scales, zeros]
            self._nodes.append(
                ir.Node(
                    "", "QuantizeLinear", inputs, attributes, outputs=[stored], name=f"autoprec/q/{label}"
                )
            )
        numbers = {"axis": pair.axis, "block_size": pair.block or None}
        attributes = [ir.AttrInt64(name, number) for name, number in numbers.items() if number is not None]
        found = self._dequantize(value, stored, label, pair.scale, pair.kind, attributes, pair.zero)
        self._values[value, label] = found
        return found

    def _quantized_weight(
        self, value: ir.Value, precision: Precision, axis: int | None, label: str
    ) -> ir.Value:
        kind = precision.quantized_type
        assert kind is not None
        assert value.const_value is not None
        tensor, largest, block = value.const_value, precision.largest, precision.block_size
        scales = weight_scales(tensor.numpy(), axis, largest, self._base, block)
        grid = _lazy(tensor, label, kind, lambda a: on_grid(a, scales, axis, largest, kind, block))
        stored = self._constant(label, grid)
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        if axis is not None and block:
            attributes = [ir.AttrInt64("axis", 1 - axis), ir.AttrInt64("block_size", block)]
        return self._dequantize(value, stored, label, scales, kind, attributes)

    def _quantized_activation(self, value: ir.Value, precision: Precision, label: str) -> ir.Value:
        kind = precision.quantized_type
        assert kind is not None
        limit = self._ranges(precision)[str(value.name)]
        scale = np.float32(activation_scale(limit, precision.largest))
        source = self._typed(value, self._base)
        scales, zeros = self._grid(label, np.asarray(scale), kind)
        result = ir.Value(name=f"{label}/q", shape=value.shape, type=ir.TensorType(kind))
        self._nodes.append(
            ir.Node(
                "", "QuantizeLinear", [source, scales, zeros], outputs=[result], name=f"autoprec/q/{label}"
            )
        )
        return self._dequantize(value, result, label, np.asarray(scale), kind, [])

    def _dequantize(
        self, value: ir.Value, stored: ir.Value, label: str, scale: NDArray[np.float32], kind: ir.DataType,
        attributes: Sequence[ir.Attr], zero: NDArray[Any] | None = None,
    ) -> ir.Value:  # fmt: skip
        scales, zeros = self._grid(label, scale, kind, zero)
        result = ir.Value(name=f"{label}/dq", shape=value.shape, type=ir.TensorType(self._base))
        self._nodes.append(
            ir.Node(
                "",
                "DequantizeLinear",
                [stored, scales, zeros],
                attributes,
                outputs=[result],
                name=f"autoprec/dq/{label}",
            )
        )
        return result

    def _grid(
        self, label: str, scale: NDArray[np.float32], kind: ir.DataType, zero: NDArray[Any] | None = None
    ) -> tuple[ir.Value, ir.Value]:
        """Scale in the base type, and zero points, all zero for None: without them ONNX means UINT8."""
        scales = ir.Tensor(converted(scale, self._base), dtype=self._base, name=f"{label}/scale")
        points = np.zeros(scale.shape, kind.numpy()) if zero is None else zero
        zeros = ir.Tensor(points, dtype=kind, name=f"{label}/zero")
        return self._constant(f"{label}/scale", scales), self._constant(f"{label}/zero", zeros)


def _prefixes(graph: ir.Graph) -> frozenset[str]:
    """All names in a graph, and what stands before each of their slashes."""
    names = [*graph.initializers, *(value.name or "" for value in graph.inputs)]
    for node in graph:
        names += [node.name or "", *(value.name or "" for value in node.outputs)]
    parts = (name.split("/") for name in names)
    return frozenset("/".join(found[:end]) for found in parts for end in range(1, len(found) + 1))


def _typed_as(value: ir.Value, data_type: ir.DataType | None) -> ir.TypeProtocol | None:
    """The type of a copy: another element type, or whatever the value had (a sequence, unknown)."""
    if data_type is None or not isinstance(value.type, ir.TensorType | None):
        return value.type
    return ir.TensorType(data_type)


def _lazy(
    tensor: ir.TensorProtocol, name: str, data_type: ir.DataType, make: Callable[[NDArray[Any]], NDArray[Any]]
) -> ir.LazyTensor:
    """Weights that are made from others when they are written, and let go again."""
    shape = ir.Shape(tensor.shape.numpy())
    return ir.LazyTensor(
        lambda: ir.Tensor(make(tensor.numpy()), dtype=data_type, name=name), data_type, shape, name=name
    )
