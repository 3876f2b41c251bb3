"""Subgraphs cut out of a model: the real surroundings of each activation that may be quantised.

A cut holds the operators that make the activation, back to the products before it, and the products that read
it: a Concat of resized maps, a residual Add, an uneven Split, two readers, with the shapes, attributes and
weights of the model. Cuts that are alike but for their weights are one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import onnx_ir as ir

from autoprec.graph.grids.given import given
from autoprec.graph.ops.costs import COSTLY_OPS, macs
from autoprec.graph.ops.placement import quantized_inputs
from autoprec.graph.ops.signs import never_negative
from autoprec.legality.inputs import Span
from autoprec.legality.pieces import Piece

_NODES = 24
"""Most operators kept in front of the readers: what is farther off changes no kernel."""
_MACS, _OF_READERS = 2_000_000_000, 64_000_000_000
"""Larger cuts go without the products in front, and those that are larger still are left out: computing them
exactly takes seconds. An activation that is not tried stands on a grid that may be computed wrongly."""


class Cutout(NamedTuple):
    """A piece cut out of a model, and the activations that it represents.

    Attributes:
        values: names, the first of them the one that it was cut out for.
        readers: names of the nodes that read any of them quantised.
    """

    piece: Piece
    values: tuple[str, ...]
    readers: tuple[str, ...]


def cuts(model: ir.Model, ranges: Mapping[str, float]) -> list[Cutout]:
    """The cuts of a model, each kind once.

    Args:
        model: loaded.
        ranges: largest magnitude to represent of each activation, by value name.
    """
    cutouts: dict[str, Cutout] = {}
    safe = never_negative(model.graph)
    for value, readers in _quantised(model, ranges):
        nodes = _around(value, readers)
        if sum(map(macs, nodes)) > _MACS:
            nodes = _around(value, readers, products=False)
        if sum(map(macs, nodes)) > _OF_READERS:
            continue
        key = _likeness(nodes, value)
        names = tuple(str(node.name) for node in readers)
        if key in cutouts:
            cutout = cutouts[key]
            values, more = (*cutout.values, str(value.name)), (*cutout.readers, *names)
            cutouts[key] = cutout._replace(values=values, readers=more)
        else:
            deciding = tuple(str(node.name) for node in readers if node.op_type in COSTLY_OPS)
            part = _extracted(model, nodes)
            spans = tuple(_spans(part.graph, ranges, safe))
            piece = Piece(str(value.name), part, ranges, deciding, spans)
            cutouts[key] = Cutout(piece, (str(value.name),), names)
    return list(cutouts.values())


def _quantised(model: ir.Model, ranges: Mapping[str, float]) -> Iterator[tuple[ir.Value, list[ir.Node]]]:
    """Activations behind Q/DQ of our own in an integer candidate, with their readers, in graph order."""
    readers_of: dict[ir.Value, list[ir.Node]] = {}
    for node in model.graph:
        # Pairs that came with the model keep their own grids.
        if given(node):
            continue
        for place in quantized_inputs(node, ranges):
            value = node.inputs[place]
            if value is not None and value.const_value is None:
                readers = readers_of.setdefault(value, [])
                if node not in readers:
                    readers.append(node)
    yield from readers_of.items()


def _around(value: ir.Value, readers: Collection[ir.Node], *, products: bool = True) -> list[ir.Node]:
    """The readers and the nodes in front of them, back to the products before, in graph order; `products`
    says whether those are included."""
    chosen = set(readers)
    front = [v for node in readers for v in node.inputs if v is not None and v is not value]
    waiting = [value, *front]
    while waiting and len(chosen) < _NODES:
        # Nearest first, so that the limit leaves out what is farthest off.
        maker = waiting.pop(0).producer()
        if maker is None or maker in chosen or (maker.op_type in COSTLY_OPS and not products):
            continue
        chosen.add(maker)
        if maker.op_type not in COSTLY_OPS:
            waiting += [v for v in maker.inputs if v is not None]
    first = next(iter(readers)).graph
    assert first is not None
    return [node for node in first if node in chosen]


def _extracted(model: ir.Model, nodes: Collection[ir.Node]) -> ir.Model:
    """A model of these nodes alone: values read from elsewhere are its inputs, values that none of them reads
    its outputs."""
    inner = {value for node in nodes for value in node.outputs}
    read = [value for node in nodes for value in node.inputs if value is not None]
    inputs = [v for v in dict.fromkeys(read) if v not in inner and v.const_value is None]
    # An optional output that is left out has an empty name, which no graph can give out.
    outputs = [v for node in nodes for v in node.outputs if v.name and not set(read) & {v}]
    graph = ir.convenience.extract(model.graph, inputs, outputs)
    graph.sort()
    return ir.Model(graph, ir_version=model.ir_version)


def _spans(graph: ir.Graph, ranges: Mapping[str, float], safe: Collection[str]) -> Iterator[Span]:
    """What the inputs of a cut have in the model; `safe` are never negative."""
    for value in graph.inputs:
        name = str(value.name)
        if span := ranges.get(name, 0.0):
            yield name, 0.0 if name in safe else -span, span


def _likeness(nodes: Collection[ir.Node], value: ir.Value) -> str:
    """A digest of operators, attributes, shapes and connections, without names and weights."""
    places: dict[ir.Value, int] = {}
    told: list[object] = []
    for node in nodes:
        read = []
        for given_value in node.inputs:
            if given_value is None:
                read.append("-")
                continue
            place = places.setdefault(given_value, len(places))
            kind = "c" if given_value.const_value is not None else "v"
            read.append(f"{kind}{place}{given_value.shape}{given_value.dtype}")
        attributes = sorted(str(attribute) for attribute in node.attributes.values())
        outputs = [f"v{places.setdefault(v, len(places))}{v.shape}" for v in node.outputs]
        told.append((node.domain, node.op_type, attributes, read, outputs))
    # The same nodes may be cut out for another of their values: that is another question.
    told.append(places.get(value))
    return hashlib.sha256(repr(told).encode()).hexdigest()
