"""Steps that change a graph: taking nodes out, putting nodes in place of others, new constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.grids.given import GIVEN, give, given


def named(node: ir.Node) -> str:
    """What messages call a node: its name, or that of what it makes."""
    return str(node.name or node.outputs[0].name)


def placed(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises ValueError for one that a value of that rank does not have."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of a value of {rank} dimensions")
    return axis % rank


def bypass(graph: ir.Graph, node: ir.Node) -> None:
    """Take out a node that passes its first input on, in place; an output of the graph keeps its name."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    pair = given(node).get(0)
    for use in output.uses():
        if pair is not None:
            give(use.node, use.idx, pair)
        use.node.replace_input_with(use.idx, source)
    if not output.is_graph_output():
        graph.remove(node, safe=True)
    elif source.producer() is None or source.is_graph_output() or pair is not None:
        node.op_type = "Identity"  # a copy: the value has a name to keep already
        node.attributes.clear()
    else:
        place = list(graph.outputs).index(output)
        name, output.name = output.name, f"{output.name}/replaced"
        source.name, source.type = name, output.type
        source.shape = output.shape if source.shape is None else source.shape
        source.meta.update({key: held for key, held in output.meta.items() if key == GIVEN})
        graph.outputs[place] = source
        graph.remove(node, safe=True)


def pass_identities(graph: ir.Graph) -> None:
    """Bypass Identity nodes: exporters put one between a shared weight and each op that reads it."""
    for node in list(graph):
        is_copy = node.op_type == "Identity" and node.domain == ""
        if is_copy and not any(value.is_graph_output() for value in node.outputs):
            bypass(graph, node)


def remove_unused(graph: ir.Graph) -> None:
    """Remove nodes that no output depends on, and constants that nothing reads."""
    outputs = set(graph.outputs)
    # From the end: a node that is removed may be the last that read another.
    for node in reversed(graph):
        if not any(value in outputs or value.uses() for value in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if value not in outputs and not value.uses():
            del graph.initializers[name]


def constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """A new initializer."""
    while name in graph.initializers:
        name += "_"
    tensor = ir.tensor(array, name=name)
    kind = ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value


def replace(graph: ir.Graph, old: ir.Node, new: Sequence[ir.Node]) -> ir.Node:
    """Put nodes in place of one; the last takes over its output with everything noted on it."""
    was, value = old.outputs[0], new[-1].outputs[0]
    for node in new:
        node.metadata_props.update(old.metadata_props)
        node.meta.update(old.meta)
    value.name, value.shape, value.type = was.name, was.shape, was.type
    was.name = f"{value.name}/replaced"
    value.meta.update(was.meta)
    graph.insert_after(old, new)
    ir.convenience.replace_all_uses_with(was, value, replace_graph_outputs=True)
    graph.remove(old, safe=True)
    return new[-1]
