"""Grouping nodes into blocks: each node in exactly one, and no block splits what engines fuse.

By module scope where nodes have one: the heaviest scope is split first, until the blocks are many enough.
By structure otherwise: the graph is cut where a single value passes. Nodes without cost join a neighbour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.blocks.scopes import has_scopes
from autoprec.graph.blocks.segments import by_outputs, by_structure
from autoprec.graph.blocks.splitting import by_scope
from autoprec.graph.ops.costs import COSTLY_OPS, constants, macs
from autoprec.records import Block

Groups = dict[str, list[ir.Node]]


def partition(
    model: ir.Model, *, minimum: int = 8, maximum: int = 40, depth: int | None = None
) -> tuple[Block, ...]:
    """Group every node of the main graph into named blocks, in graph order.

    Names and borders depend on the model's structure and names alone, so they are the same on every run.

    Args:
        model: loaded, with shapes.
        minimum: fewer blocks than this are split further where the model allows it.
        maximum: more than this are merged, smallest neighbours first.
        depth: cut scopes at this depth instead of choosing by cost.

    Raises `ModelError` for a model without nodes.
    """
    everything = by_outputs(model.graph)
    computing = _computing(everything, model.graph)
    nodes = [node for node in everything if node in computing] or everything
    if not nodes:
        raise ModelError("the model has no nodes: there is nothing to choose a precision for")
    cost = {node: macs(node) if node.op_type in COSTLY_OPS else 0 for node in everything}
    costly = [node for node in nodes if cost[node]] or nodes
    if has_scopes(costly):
        homes = by_scope(nodes, cost, minimum=minimum, maximum=maximum, depth=depth)
    else:
        homes = by_structure(nodes, cost)
    homes = _joined(nodes, cost, homes)
    homes = _merged(nodes, cost, homes, maximum)
    for node in reversed(everything):  # what makes weights goes with what reads them
        if node not in homes:
            homes[node] = next(homes[after] for after in node.successors() if after in homes)
    return _blocks(model, list(model.graph), homes)


def _computing(nodes: Sequence[ir.Node], graph: ir.Graph) -> set[ir.Node]:
    """Nodes that depend on an input of the graph, or make one of its outputs; all others make constants."""
    computing: set[ir.Node] = set()
    inputs, outputs = set(graph.inputs), set(graph.outputs)
    for node in nodes:
        reads = any(
            value in inputs or value.producer() in computing for value in node.inputs if value is not None
        )
        if reads or outputs.intersection(node.outputs):
            computing.add(node)
    return computing


def _joined(
    nodes: Sequence[ir.Node], cost: Mapping[ir.Node, int], homes: dict[ir.Node, str]
) -> dict[ir.Node, str]:
    """Blocks without a costly node join a neighbour: the producer of what they read last, else a consumer."""
    order = {node: place for place, node in enumerate(nodes)}
    for _ in nodes:
        weights = _weights(cost, homes)
        light = [name for name, weight in weights.items() if not weight]
        if not light or len(weights) == 1:
            break
        moved = False
        # One at a time: after each move another block may be the neighbour.
        for name in light:
            target = _neighbour(name, homes, order, weights)
            if target is not None:
                homes = {node: target if home == name else home for node, home in homes.items()}
                moved = True
                break
        if not moved:
            break
    return homes


def _neighbour(
    name: str, homes: Mapping[ir.Node, str], order: Mapping[ir.Node, int], weights: Mapping[str, int]
) -> str | None:
    """The block that a light block joins: a neighbour with cost, if there is one."""
    members = [node for node, home in homes.items() if home == name]
    before = [p for node in members for p in node.predecessors() if homes.get(p, name) != name]
    after = [s for node in members for s in node.successors() if homes.get(s, name) != name]
    ranked = sorted(before, key=order.__getitem__, reverse=True) + sorted(after, key=order.__getitem__)
    for node in ranked:
        if weights[homes[node]]:
            return homes[node]
    return homes[ranked[0]] if ranked else None


def _merged(
    nodes: Sequence[ir.Node], cost: Mapping[ir.Node, int], homes: dict[ir.Node, str], maximum: int
) -> dict[ir.Node, str]:
    """Merge the lightest pair of connected blocks until there are at most `maximum`."""
    while len(weights := _weights(cost, homes)) > maximum:
        pairs = {
            tuple(sorted((homes[node], homes[after])))
            for node in nodes
            for after in node.successors()
            if after in homes and homes[node] != homes[after]
        }
        if not pairs:
            break
        # By name where weights are equal: the order of a set is another one in each process.
        first, second = min(pairs, key=lambda pair: (weights[pair[0]] + weights[pair[1]], pair))
        kept, gone = (first, second) if weights[first] >= weights[second] else (second, first)
        homes = {node: kept if home == gone else home for node, home in homes.items()}
    return homes


def _weights(cost: Mapping[ir.Node, int], homes: Mapping[ir.Node, str]) -> dict[str, int]:
    """Cost of each block, in graph order."""
    weights: dict[str, int] = {}
    for node, home in homes.items():
        weights[home] = weights.get(home, 0) + cost[node]
    return weights


def _blocks(model: ir.Model, nodes: Sequence[ir.Node], homes: Mapping[ir.Node, str]) -> tuple[Block, ...]:
    groups: Groups = {}
    for node in nodes:
        groups.setdefault(homes[node], []).append(node)
    outputs = set(model.graph.outputs)
    return tuple(_block(name, members, outputs) for name, members in groups.items())


def _block(name: str, members: Sequence[ir.Node], outputs: set[ir.Value]) -> Block:
    inside = set(members)
    weights = dict.fromkeys(value for node in members for value in constants(node))
    read = dict.fromkeys(
        value for node in members for value in node.inputs
        if value is not None and value.const_value is None and value.producer() not in inside
    )  # fmt: skip
    visible = [
        value for node in members for value in node.outputs
        if value in outputs or any(use.node not in inside for use in value.uses())
    ]  # fmt: skip
    return Block(
        name=name,
        nodes=tuple(str(node.name) for node in members),
        op_counts=tuple(Counter(node.op_type for node in members).most_common()),
        macs=sum(map(macs, members)),
        parameters=sum(value.const_value.size for value in weights if value.const_value is not None),
        weight_bytes=sum(value.const_value.nbytes for value in weights if value.const_value is not None),
        inputs=tuple(str(value.name) for value in read),
        outputs=tuple(str(value.name) for value in visible),
    )
