"""Splitting fused projections: a product for each part that is taken, before anything is quantised.

TensorRT-RTX dequantises a product whose columns are taken in parts by Split, Gather or Slice, and runs a
product for each part in INT8, FP8 or NVFP4 (1.7.1, builds for 8.9 and 12.0, widths 64 to 768). Each column of
INT8 and FP8 weights has its own scale, so the parts compute what the whole did.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Sequence

import numpy as np
import onnx_ir as ir

from autoprec.graph.grids.pairs import lazy_tensor
from autoprec.graph.ops.placement import channel_axis
from autoprec.graph.rewrite.fused import Projection, order, projection
from autoprec.graph.rewrite.products import take_over

FLOAT = ir.DataType.FLOAT
_PART = re.compile(r"/part\d+_*$")


def origin(name: str, names: Container[str]) -> str:
    """The name of the node that a candidate's node came from: its own if known, else that of the whole."""
    return name if name in names else _PART.sub("", name)


def split_projections(model: ir.Model, names: Collection[str]) -> dict[str, str]:
    """Write the projections among these nodes in parts, in place; returns the origin of each new node, by
    name.

    The first part takes over the names of the nodes, each part the name of the value that was taken.
    """
    writer = _Writer(model.graph)
    for node in [node for node in model.graph if node.name in names]:
        whole = projection(node)
        if whole is not None:
            writer.write(whole)
    return writer.origins


class _Writer:
    """Writes projections of one graph; those with the same weights share the parts of these."""

    def __init__(self, graph: ir.Graph) -> None:
        self.origins: dict[str, str] = {}
        self._graph = graph
        self._cuts: dict[tuple[ir.Value, int, int, int], ir.Value] = {}
        self._taken = {*graph.initializers, *(str(value.name) for value in graph.inputs)}
        for node in graph:
            self._taken |= {str(node.name), *(str(value.name) for value in node.outputs)}

    def write(self, whole: Projection) -> None:
        """Put the parts in place of the whole."""
        takers = dict.fromkeys(use.node for use in whole.chain[-1].outputs[0].uses())
        nodes: list[ir.Node] = []
        for number, part in enumerate(whole.parts):
            value = whole.chain[0].inputs[0]
            for old in whole.chain:
                nodes.append(self._part(old, value, whole, number))
                value = nodes[-1].outputs[0]
            take_over(part.value, nodes[-1].outputs[0])
        self._graph.insert_after(whole.chain[0], nodes)
        # Readers before what they read: a node that is still read cannot be removed.
        for old in (*takers, *reversed(whole.chain)):
            self._graph.remove(old, safe=True)

    def _part(self, old: ir.Node, value: ir.Value | None, whole: Projection, number: int) -> ir.Node:
        """The copy of a chain's node for one part; `value` is what it reads of the chain."""
        part, axis = whole.parts[number], whole.axis
        first, last = part.start * whole.columns, part.stop * whole.columns
        # The first part keeps the old name; `origin` tells what the others are parts of by their ending.
        name = self._free(f"{old.name}/part{number}") if number else str(old.name)
        shape, attributes = list(old.outputs[0].shape or ()), list(old.attributes.values())
        inputs = [value]
        if old.op_type == "Reshape":
            shape[axis : axis + 1] = [] if part.drops else [part.stop - part.start]
            inputs.append(self._sizes(f"{name}/sizes", shape))
            attributes = []
        elif old.op_type == "Transpose":
            perm = order(old)
            if part.drops:
                perm = [place - (place > axis) for place in perm if place != axis]
            before = list(value.shape or ()) if value is not None else []
            shape = [before[place] for place in perm]
            # What a Gather took away is no axis any more: those behind it are one place further in front.
            attributes = [ir.AttrInt64s("perm", perm)]
        else:
            shape[-1] = last - first
            inputs = [self._input(old, place, value, (first, last)) for place in range(len(old.inputs))]
        output = ir.Value(
            name=self._free(f"{old.outputs[0].name}/part{number}"),
            shape=ir.Shape(shape),
            type=ir.TensorType(FLOAT),
        )
        self.origins[name] = str(old.name)
        told = dict(old.metadata_props)
        return ir.Node("", old.op_type, inputs, attributes, outputs=[output], name=name, metadata_props=told)

    def _input(
        self, old: ir.Node, place: int, value: ir.Value | None, columns: tuple[int, int]
    ) -> ir.Value | None:
        """An input of a part of a product or of an Add: `value`, or the part's columns of weights or bias."""
        constant = old.inputs[place]
        if constant is None or constant.const_value is None:
            return value if constant is not None else None
        lengths = constant.const_value.shape.numpy()
        is_weight = old.op_type != "Add" and place == 1
        axis = channel_axis(old, constant) if is_weight else len(lengths) - 1
        # A bias of one number is broadcast over all columns, those of a part included.
        if axis is None or axis < 0 or lengths[axis] == 1:
            return constant
        return self._cut(constant, axis, *columns)

    def _cut(self, constant: ir.Value, axis: int, first: int, last: int) -> ir.Value:
        """A part of a constant along an axis, made when it is read."""
        key, tensor = (constant, axis, first, last), constant.const_value
        assert tensor is not None
        if key not in self._cuts:
            name, lengths = self._free(f"{constant.name}/{axis}/{first}-{last}"), list(tensor.shape.numpy())
            lengths[axis] = last - first
            where = (*[slice(None)] * axis, slice(first, last))
            lazy = lazy_tensor(
                name, FLOAT, ir.Shape(lengths), lambda: np.ascontiguousarray(tensor.numpy()[where])
            )
            self._cuts[key] = self._constant(name, lazy)
        return self._cuts[key]

    def _sizes(self, name: str, lengths: Sequence[int | ir.SymbolicDim]) -> ir.Value:
        name = self._free(name)
        return self._constant(name, ir.tensor(np.array(lengths, np.int64), name=name))

    def _constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        shape, kind = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
        value = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
        self._graph.register_initializer(value)
        return value

    def _free(self, name: str) -> str:
        """A name that nothing in the graph has."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
