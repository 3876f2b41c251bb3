"""Branches whose condition is known: the one that is taken, in the place of the If."""

from __future__ import annotations

import onnx_ir as ir

from autoprec.graph.model.passing import bypass


def take_known(graph: ir.Graph) -> bool:
    """Put branches of If nodes with constant conditions in their places; returns whether there were any."""
    constant = [
        node for node in graph if node.op_type == "If" and node.domain == "" and _condition(node) is not None
    ]
    for node in constant:
        _take(graph, node, "then_branch" if _condition(node) else "else_branch")
    return bool(constant)


def _condition(node: ir.Node) -> bool | None:
    value = node.inputs[0]
    if value is None or value.const_value is None:
        return None
    return bool(value.const_value.numpy().reshape(-1)[0])


def _take(graph: ir.Graph, node: ir.Node, branch: str) -> None:
    inner = node.attributes[branch].as_graph()
    taken = {str(value.name) for other in graph for value in other.outputs} | set(graph.initializers)
    nodes = list(inner)
    outputs = list(inner.outputs)
    held = list(inner.initializers.values())
    inner.outputs.clear()
    for value in held:
        inner.initializers.pop(str(value.name))
    for other in nodes:
        inner.remove(other)
    stem = node.name or node.outputs[0].name
    for value in [*held, *(value for other in nodes for value in other.outputs)]:
        if value.name in taken:
            value.name = f"{stem}/{value.name}"
    for value in held:
        graph.register_initializer(value)
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, outputs, strict=True):
        copy = ir.node("Identity", [new], name=f"{stem}/{old.name}")
        copy.outputs[0].name, old.name = old.name, f"{old.name}/branched"
        copy.outputs[0].type, copy.outputs[0].shape = old.type, old.shape
        graph.insert_before(node, copy)
        ir.convenience.replace_all_uses_with(old, copy.outputs[0], replace_graph_outputs=True)
        bypass(graph, copy)
    graph.remove(node, safe=True)
