"""Operators of ONNX in place of a foreign node: names, constants, and the values that become its outputs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.model.forms.splicing import stand_in
from autoprec.graph.model.passing import constant, named

_WITH_AXES_AS_INPUT = 18
"""The first opset whose ReduceMean takes axes as an input."""


class Writing:
    """The replacement of one node; new nodes are inserted in front of it, in the order of `add`.

    Attributes:
        node: that is replaced.
    """

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self.node, self._graph = node, graph
        self._stem = named(node)
        self._added: list[ir.Node] = []
        self._given: dict[int, ir.Value] = {}

    def input(self, place: int) -> ir.Value:
        """A required input. Raises `ModelError` where it is missing."""
        value = self.given(place)
        if value is None:
            raise ModelError(
                f"node {self._stem!r} ({self.node.op_type}) lacks its input {place}; export it again"
            )
        return value

    def given(self, place: int) -> ir.Value | None:
        """An input; None where it is left out."""
        return self.node.inputs[place] if place < len(self.node.inputs) else None

    def given_inputs(self, count: int) -> list[ir.Value | None]:
        """The first `count` inputs, without trailing ones that are left out."""
        values = [self.given(place) for place in range(count)]
        while values and values[-1] is None:
            values.pop()
        return values

    def setting(self, name: str, default: float) -> float:
        """An attribute."""
        return float(self.node.attributes.get_float(name, default) or 0.0)

    def number(self, value: float) -> ir.Value:
        """A constant in the type of the node's first input."""
        kind = self.input(0).dtype or ir.DataType.FLOAT
        name = f"{self._stem}/{len(self._added)}/number"
        return constant(self._graph, name, np.array(value, kind.numpy()))

    def add(self, op: str, *inputs: ir.Value | None, attributes: Iterable[ir.Attr] = ()) -> ir.Value:
        """The result of an operator of ONNX, of the node's own type."""
        name = f"{self._stem}/{op}{len(self._added)}"
        node = ir.Node("", op, list(inputs), attributes, name=name)
        node.outputs[0].name, node.outputs[0].type = name, self.node.outputs[0].type
        node.metadata_props.update(self.node.metadata_props)
        self._added.append(node)
        return node.outputs[0]

    def turned(self, value: ir.Value) -> ir.Value:
        """A stack of matrices, each transposed."""
        # A Transpose lists every axis, so it needs the rank; an Einsum does not.
        if value.shape is None:
            letters = ir.AttrString("equation", "...ij->...ji")
            return self.add("Einsum", value, attributes=[letters])
        order = [*range(len(value.shape) - 2), len(value.shape) - 1, len(value.shape) - 2]
        return self.add("Transpose", value, attributes=[ir.AttrInt64s("perm", order)])

    def mean(self, value: ir.Value) -> ir.Value:
        """The mean along the last axis, which is kept with length 1."""
        if self._graph.opset_imports.get("", 0) >= _WITH_AXES_AS_INPUT:
            axes = constant(self._graph, f"{self._stem}/axes", np.array([-1], np.int64))
            return self.add("ReduceMean", value, axes)
        return self.add("ReduceMean", value, attributes=[ir.AttrInt64s("axes", [-1])])

    def is_read(self, place: int) -> bool:
        """Whether anything reads an output of the node."""
        outputs = self.node.outputs
        return place < len(outputs) and bool(outputs[place].uses() or outputs[place].is_graph_output())

    def give(self, place: int, value: ir.Value) -> None:
        """Make a value one of the outputs behind the first."""
        self._given[place] = value

    def stand_in(self, first: ir.Value) -> None:
        """Replace the node by what was added; `first` becomes its first output."""
        self._graph.insert_before(self.node, self._added)
        outputs = [first, *(self._given.get(place, first) for place in range(1, len(self.node.outputs)))]
        stand_in(self._graph, self.node, outputs)
