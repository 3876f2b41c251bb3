"""A model cut off behind a node, to look at the values computed up to there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from autoprec.graph.model.files import write_model


class Cut(NamedTuple):
    """The values that cross the border behind a node: what later nodes read of it and of earlier ones."""

    node: str
    op_type: str
    values: tuple[str, ...]


def cuts(path: Path) -> list[Cut]:
    """One cut behind each node that depends on the model's inputs, in the order of computation.

    Whatever goes wrong before a cut shows in its values: a fault that none of them shows has no effect.
    """
    graph = ir.load(path).graph
    fed = {value for value in graph.inputs if value.name not in graph.initializers}
    nodes = []
    for node in graph:
        if any(value in fed for value in node.inputs):
            fed.update(node.outputs)
            nodes.append(node)
    last = {value: place for place, node in enumerate(nodes) for value in node.inputs if value is not None}
    # Outputs are read behind the last node, so they cross every border behind their own.
    last |= dict.fromkeys(graph.outputs, len(nodes))
    alive: list[ir.Value] = []
    places = []
    for place, node in enumerate(nodes):
        alive = [value for value in (*alive, *node.outputs) if last.get(value, -1) > place]
        places.append(Cut(str(node.name or node.outputs[0].name), node.op_type, _names(alive)))
    return places


def values_of(path: Path) -> frozenset[str]:
    """Names of all values that the nodes of a model make."""
    return frozenset(_names([value for node in ir.load(path).graph for value in node.outputs]))


def write_cut(path: Path, values: Collection[str], target: Path) -> Path:
    """Write the part of a model that makes these values, which become its outputs; returns `target`."""
    model = ir.load(path)
    graph = model.graph
    by_name = {str(value.name): value for node in graph for value in node.outputs}
    outputs = [by_name[name] for name in values]
    # Values inside a graph may go without a type, its outputs may not.
    if any(value.type is None for value in outputs):
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model)
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    # What only the former outputs needed would take an engine's time and memory all the same.
    RemoveUnusedNodesPass()(model)
    write_model(model, target)
    return target


def _names(values: Sequence[ir.Value]) -> tuple[str, ...]:
    return tuple(str(value.name) for value in values if value.name)
