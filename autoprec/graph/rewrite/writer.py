"""Writing a typed copy of a graph, node by node: one Cast for each value and type, shared Q/DQ pairs.

A Cast always starts from the value as it was made, so types never go back and forth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.grids.given import given, given_output, unclipped
from autoprec.graph.grids.grid import SIGNED, grid_of
from autoprec.graph.grids.levels import Levels, activation_levels, levelled, weight_levels, with_levels
from autoprec.graph.grids.pairs import Pair, activation_pair, lazy_tensor, weight_pair
from autoprec.graph.grids.weights import converted
from autoprec.graph.model.passing import remove_unused
from autoprec.graph.ops.placement import channel_axis, places
from autoprec.graph.ops.support import float_types, output_types, supports
from autoprec.precisions import Precision

FLOAT = ir.DataType.FLOAT


class Writer:
    """One typed copy of `source`.

    Args:
        source: the float model; untouched.
        base: float type of quantised blocks.
        ranges: largest magnitude to represent of each activation, by value name, in a given precision.
        widened: (op type, float type) that compute in FLOAT, as ops do that ONNX does not give the type.
        grids: value name to a name of `GRIDS`, for 8-bit integers that are not signed.
    """

    def __init__(
        self,
        source: ir.Model,
        base: ir.DataType,
        ranges: Callable[[Precision], Mapping[str, float]],
        widened: frozenset[tuple[str, ir.DataType]] = frozenset(),
        grids: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._source = source
        self._grids = grids
        self._base = base
        self._ranges = ranges
        self._widened = widened
        self._opset = source.graph.opset_imports[""]
        self._nodes: list[ir.Node] = []
        self._initializers: dict[str, ir.Value] = {}
        self._values: dict[tuple[ir.Value, str], ir.Value] = {}
        self._copies: dict[ir.Value, ir.Value] = {}
        self._outputs = set(source.graph.outputs)
        self._pairs: dict[tuple[ir.Value, str], Pair | Levels] = {}
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
        remove_unused(graph)  # a pair clips by itself: an operator that clips for it is no longer needed
        model = ir.Model(
            graph,
            # Float8 and 4-bit integers came with IR 9 and 10: readers refuse them in an older one.
            ir_version=max(self._source.ir_version, 10),
            producer_name="autoprec",
            metadata_props=dict(self._source.metadata_props),
        )
        return with_levels(model) if any(isinstance(pair, Levels) for pair in self._pairs.values()) else model

    def _write_node(self, node: ir.Node, precision: Precision) -> None:
        wanted = precision.float_type or self._base
        places = self._quantized_places(node, precision)
        # Between Q/DQ pairs, which give the base type, no float kernel runs that could be refused.
        is_refused = not places and (node.op_type, wanted) in self._widened
        own = wanted if supports(node, wanted, self._opset) and not is_refused else FLOAT
        inputs: list[ir.Value | None] = []
        for place, value in enumerate(node.inputs):
            # Indices, shapes and masks have the type that the operator asks for, whatever the block computes
            # in.
            if value is None or value.dtype != FLOAT:
                inputs.append(None if value is None else self._plain(value))
            elif place in places:
                inputs.append(self._behind(value, self._pair(node, place, value, precision)))
            else:
                # By input, not by node: the scales of a Resize, for one, are FLOAT whatever its data are in.
                allowed = float_types(node, place, self._opset)
                inputs.append(self._typed(value, own if own in allowed else FLOAT))
        reads_float = any(value is not None and value.dtype == FLOAT for value in node.inputs)
        # A node without a float input (a Cast of indices) makes FLOAT: no input lends it another type.
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
        return places(node, precision, self._ranges(precision) if precision.is_quantized else {})

    def _result(self, value: ir.Value, data_type: ir.DataType | None) -> ir.Value:
        """The copy of a node's output. An output of the graph that gets a Cast or a pair behind it gives its
        name up to what follows."""
        name = str(value.name)
        if value in self._outputs and (data_type != value.dtype or value in self._behind_pairs):
            name = self._free(f"autoprec/made/{name}")
        return self._new(value, data_type, name)

    def _new(self, value: ir.Value, data_type: ir.DataType | None, name: str) -> ir.Value:
        """The copy of a value as it is made."""
        typed = ir.Value(name=name, shape=value.shape, type=_typed_as(value, data_type))
        self._copies[value] = typed
        return typed

    def _free(self, name: str) -> str:
        """A name that the source neither has nor begins one with: candidates may be rewritten again."""
        while name in self._taken:
            name += "_"
        return name

    def _output(self, value: ir.Value) -> ir.Value:
        """An output of the graph, with its own name and type."""
        pair = given_output(value)
        if pair is not None and value in self._behind_pairs:
            output = self._behind(value, pair)
            if output.dtype != FLOAT:
                output = self._cast(value, output, FLOAT, f"autoprec/output/{value.name}")
            # Last in the chain, so it carries the name that callers ask for; `_result` had set it free.
            output.name = value.name
            return output
        return self._typed(value, FLOAT) if value.dtype == FLOAT else self._plain(value)

    def _plain(self, value: ir.Value) -> ir.Value:
        """The copy of a value that is no FLOAT tensor, with its type unchanged."""
        if value not in self._copies:
            assert value.const_value is not None, f"{value.name} is read before it is made"
            self._copies[value] = self._constant(str(value.name), value.const_value)
        return self._copies[value]

    def _typed(self, value: ir.Value, data_type: ir.DataType) -> ir.Value:
        """A FLOAT value in another float type: itself, its converted weights, or its one Cast."""
        key = (value, data_type.name)
        if key in self._values:
            return self._values[key]
        if value.const_value is not None:
            typed = self._weights(value, data_type)
        else:
            source = self._copies[value]
            # From the value as made, never from another Cast: FP32 to FP16
            # to BF16 would lose both types' bits.
            typed = source if source.dtype == data_type else self._cast(value, source, data_type)
        self._values[key] = typed
        return typed

    def _cast(self, value: ir.Value, source: ir.Value, data_type: ir.DataType, label: str = "") -> ir.Value:
        """The Cast of a value; it carries the name of a graph's output, unless a pair follows."""
        cast = self._free(label or f"autoprec/cast/{value.name}/{data_type.name.lower()}")
        is_output = value in self._outputs and data_type == value.dtype and value not in self._behind_pairs
        name = value.name if is_output else cast
        result = ir.Value(name=name, shape=value.shape, type=_typed_as(value, data_type))
        attributes = [ir.AttrInt64("to", data_type.value)]
        self._nodes.append(ir.Node("", "Cast", [source], attributes, outputs=[result], name=cast))
        return result

    def _weights(self, value: ir.Value, data_type: ir.DataType) -> ir.Value:
        """An initializer in another float type."""
        assert value.const_value is not None
        if data_type == FLOAT:
            return self._constant(str(value.name), value.const_value)
        name = self._free(f"{value.name}/{data_type.name.lower()}")
        tensor = value.const_value
        make = partial(_converted, tensor, data_type)
        return self._constant(name, lazy_tensor(name, data_type, tensor.shape, make))

    def _constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """An initializer of the copy; one for each name."""
        if name not in self._initializers:
            shape, kind = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
            self._initializers[name] = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
        return self._initializers[name]

    def _pair(self, node: ir.Node, place: int, value: ir.Value, precision: Precision) -> Pair | Levels:
        """The pair of an input of a quantised op: the model's own, or a new one."""
        if place in given(node):
            return given(node)[place]
        assert precision.quantized_type is not None
        label = f"{value.name}/{precision.quantized_type.name.lower()}"
        if value.const_value is None:
            grid = grid_of(precision, self._grids.get(str(value.name), SIGNED))
            label = f"{value.name}/{grid.kind.name.lower()}"
            if precision.range_method:
                label += f"/{precision.range_method}{precision.percentile or ''}"
            limit = self._ranges(precision)[str(value.name)]
            if precision.scale_type:
                return activation_levels(self._free(label), limit, precision)
            return activation_pair(self._free(label), limit, grid)
        axis = channel_axis(node, value)
        label = self._free(label if axis is None else f"{label}/axis{axis}")
        # A weight that several nodes read is scanned for its scales once.
        if (value, label) in self._pairs:
            return self._pairs[value, label]
        if precision.scale_type and axis is not None:
            return weight_levels(label, value.const_value, precision, axis)
        return weight_pair(label, value.const_value, precision, axis, self._base)

    def _behind(self, value: ir.Value, pair: Pair | Levels) -> ir.Value:
        """A value behind Q/DQ; weights are stored on the grid, behind DQ alone."""
        key = (value, pair.name)
        if key not in self._values:
            if isinstance(pair, Levels):
                self._values[key] = self._behind_levels(value, pair)
            else:
                self._values[key] = self._behind_pair(value, pair)
            self._pairs[key] = pair
        return self._values[key]

    def _behind_levels(self, value: ir.Value, levels: Levels) -> ir.Value:
        read = value if levels.stored is not None else self._typed(value, self._base)
        self._nodes += levelled(levels, read, self._base, self._constant, self._free)
        return self._nodes[-1].outputs[0]

    def _behind_pair(self, value: ir.Value, pair: Pair) -> ir.Value:
        label, kind = pair.name, pair.kind
        # A DQ gives the type of its scale: in the base's type, no Cast stands between the pair and what reads
        # it, and both operands of a product have one type, without which TensorRT refuses the model.
        scales = ir.Tensor(converted(pair.scale, self._base), dtype=self._base, name=f"{label}/scale")
        # Written out although they are 0: a Q without a zero point is INT8 to TensorRT and UINT8 to ONNX, so
        # the same file would clip negative values in one engine and not in the other.
        zeros = ir.Tensor(pair.zeros(), dtype=kind, name=f"{label}/zero")
        grid = [self._constant(f"{label}/scale", scales), self._constant(f"{label}/zero", zeros)]
        if pair.stored is not None:
            stored = self._constant(label, pair.stored)
        else:
            stored = ir.Value(name=f"{label}/q", shape=value.shape, type=ir.TensorType(kind))
            inputs = [self._typed(unclipped(value, pair), self._base), *grid]
            self._add("QuantizeLinear", inputs, stored, f"autoprec/q/{label}", pair.attributes())
        result = ir.Value(name=f"{label}/dq", shape=value.shape, type=ir.TensorType(self._base))
        self._add("DequantizeLinear", [stored, *grid], result, f"autoprec/dq/{label}", pair.attributes())
        return result

    def _add(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        output: ir.Value,
        name: str,
        attributes: Sequence[ir.Attr],
    ) -> None:
        """A node of our own."""
        self._nodes.append(ir.Node("", op, inputs, attributes, outputs=[output], name=name))


def _converted(tensor: ir.TensorProtocol, data_type: ir.DataType) -> NDArray[Any]:
    return converted(tensor.numpy(), data_type)


def _prefixes(graph: ir.Graph) -> frozenset[str]:
    """All names in a graph, and all their prefixes up to a slash."""
    names = [*graph.initializers, *(value.name or "" for value in graph.inputs)]
    for node in graph:
        names += [node.name or "", *(value.name or "" for value in node.outputs)]
    # Prefixes too: our names append to those of the source, and could end up equal to one of its own.
    parts = (name.split("/") for name in names)
    return frozenset("/".join(steps[:end]) for steps in parts for end in range(1, len(steps) + 1))


def _typed_as(value: ir.Value, data_type: ir.DataType | None) -> ir.TypeProtocol | None:
    """The type of a copy: another element type, or whatever the value had (a sequence, unknown)."""
    if data_type is None or not isinstance(value.type, ir.TensorType | None):
        return value.type
    return ir.TensorType(data_type)
