"""If nodes whose condition is known, replaced by the branch that is taken."""

from __future__ import annotations

import onnx_ir as ir

from autoprec.graph.model.forms.splicing import names_in, splice, stand_in


def take_known(graph: ir.Graph) -> bool:
    """Put branches of If nodes with constant conditions in their places; returns whether there were any."""
    constant = [
        node for node in graph if node.op_type == "If" and node.domain == "" and _condition(node) is not None
    ]
    taken = names_in(graph) if constant else set()
    for node in constant:
        branch = node.attributes["then_branch" if _condition(node) else "else_branch"].as_graph()
        stand_in(graph, node, splice(graph, node, branch, str(node.name or node.outputs[0].name), taken))
    return bool(constant)


def _condition(node: ir.Node) -> bool | None:
    value = node.inputs[0]
    if value is None or value.const_value is None:
        return None
    return bool(value.const_value.numpy().reshape(-1)[0])
