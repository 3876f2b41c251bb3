"""An inner graph, of a branch or of one round of a loop, in place of the node that has it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from autoprec.graph.model.passing import bypass


def names_in(graph: ir.Graph) -> set[str]:
    """The names that values of a graph have."""
    computed = {str(value.name) for node in graph for value in node.outputs}
    return computed | set(graph.initializers) | {str(value.name) for value in graph.inputs}


def splice(graph: ir.Graph, node: ir.Node, inner: ir.Graph, stem: str, taken: set[str]) -> list[ir.Value]:
    """Move all of an inner graph in front of a node; returns its former outputs.

    What the file notes of its values may be stale, and is taken off: inference comes after.

    Args:
        graph: that the node is in.
        node: control flow.
        inner: left empty. Nothing reads its inputs any more.
        stem: put before names that the graph has already.
        taken: those names, `names_in(graph)`; the new ones are added, once for many inner graphs.
    """
    nodes, outputs, held = list(inner), list(inner.outputs), list(inner.initializers.values())
    inner.outputs.clear()
    for value in held:
        inner.initializers.pop(str(value.name))
    for other in nodes:
        inner.remove(other)
    for value in [*held, *(value for other in nodes for value in other.outputs)]:
        if value.name in taken:
            value.name = f"{stem}/{value.name}"
        taken.add(str(value.name))
    for other in nodes:
        for value in other.outputs if other.domain == "" else ():
            value.type, value.shape = None, None
    for value in held:
        graph.register_initializer(value)
    graph.insert_before(node, nodes)
    return outputs


def stand_in(graph: ir.Graph, node: ir.Node, values: Sequence[ir.Value]) -> None:
    """Replace a node's outputs by values, and remove it."""
    stem = node.name or node.outputs[0].name
    for old, new in zip(node.outputs, values, strict=True):
        copy = ir.node("Identity", [new], name=f"{stem}/{old.name}")
        copy.outputs[0].name, old.name = old.name, f"{old.name}/replaced"
        copy.outputs[0].type, copy.outputs[0].shape = old.type, old.shape
        graph.insert_before(node, copy)
        ir.convenience.replace_all_uses_with(old, copy.outputs[0], replace_graph_outputs=True)
        # By way of an Identity, since `bypass` keeps names of the graph's outputs and recorded pairs.
        bypass(graph, copy)
    graph.remove(node, safe=True)
