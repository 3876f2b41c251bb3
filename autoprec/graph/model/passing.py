"""Taking nodes out of a graph: those that pass a value on, and those that nothing reads."""

from __future__ import annotations

import onnx_ir as ir

from autoprec.graph.grids.given import GIVEN, give, given


def bypass(graph: ir.Graph, node: ir.Node) -> None:
    """Take out a node that passes its first input on, in place; an output of the graph keeps its name."""
    source, made = node.inputs[0], node.outputs[0]
    assert source is not None
    pair = given(node).get(0)
    for use in made.uses():
        if pair is not None:
            give(use.node, use.idx, pair)
        use.node.replace_input_with(use.idx, source)
    if not made.is_graph_output():
        graph.remove(node, safe=True)
    elif source.producer() is None or source.is_graph_output() or pair is not None:
        node.op_type = "Identity"  # a copy: the value has a name to keep already
        node.attributes.clear()
    else:
        place = list(graph.outputs).index(made)
        name, made.name = made.name, f"{made.name}/replaced"
        source.name, source.type = name, made.type
        source.shape = made.shape if source.shape is None else source.shape
        source.meta.update({key: held for key, held in made.meta.items() if key == GIVEN})
        graph.outputs[place] = source
        graph.remove(node, safe=True)


def pass_identities(graph: ir.Graph) -> None:
    """Read what an Identity reads: exporters put one between a shared weight and each op that has it."""
    for node in list(graph):
        if node.op_type == "Identity" and node.domain == "" and not node.outputs[0].is_graph_output():
            bypass(graph, node)


def remove_unused(graph: ir.Graph) -> None:
    """Remove nodes that no output depends on."""
    outputs = set(graph.outputs)
    for node in reversed(graph):
        if not any(value in outputs or value.uses() for value in node.outputs):
            graph.remove(node, safe=True)
