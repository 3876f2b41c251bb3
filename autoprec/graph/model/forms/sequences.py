"""Sequences and optionals whose members are known: written as the tensors that they hold.

Exporters write them for lists in the model's code. Engines have none of them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.model.passing import constant, named, replace

_Members = dict[ir.Value, list[ir.Value]]
_MAKING = frozenset(
    {"SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SplitToSequence", "Optional"}
)
_READING = frozenset({"SequenceAt", "ConcatFromSequence", "SequenceLength", "OptionalGetElement"})


def without_sequences(graph: ir.Graph) -> None:
    """Replace operators on sequences by operators on their members, in place. The graph is sorted.

    Raises `ModelError` naming a node whose sequence is not known before the model runs.
    """
    members: _Members = {}
    for node in list(graph):
        if node.domain != "" or node.op_type not in _MAKING | _READING:
            continue
        has_taken = (
            _recorded(graph, node, members) if node.op_type in _MAKING else _read(graph, node, members)
        )
        if not has_taken:
            raise ModelError(
                f"node {named(node)!r} ({node.op_type}) uses a sequence known only "
                "at run time; export the model without lists of tensors, or with fixed shapes"
            )
    # From the end: what a sequence is made of may be a sequence that nothing else reads.
    for node in reversed(graph):
        if node.domain == "" and node.op_type in _MAKING and not node.outputs[0].uses():
            graph.remove(node, safe=True)


def _recorded(graph: ir.Graph, node: ir.Node, members: _Members) -> bool:
    """Record the members of the sequence that a node makes; an optional is a sequence of one."""
    first, output = (node.inputs[0] if node.inputs else None), node.outputs[0]
    if output.is_graph_output():
        return False
    if node.op_type in ("SequenceConstruct", "Optional"):
        if node.op_type == "Optional" and first is not None and first in members:
            members[output] = members[first]
        else:
            members[output] = [value for value in node.inputs if value is not None]
        return True
    if node.op_type == "SequenceEmpty":
        members[output] = []
        return True
    if node.op_type == "SplitToSequence":
        return _split(graph, node, members)
    if first is None or first not in members:
        return False
    held, place = list(members[first]), _number(node, 2 if node.op_type == "SequenceInsert" else 1)
    # Without a position ONNX means the end, of both operators.
    if node.op_type == "SequenceInsert" and node.inputs[1] is not None:
        held.insert(len(held) if place is None else place, node.inputs[1])
    else:
        del held[-1 if place is None else place]
    members[output] = held
    return True


def _split(graph: ir.Graph, node: ir.Node, members: _Members) -> bool:
    """SplitToSequence as Split, and Squeeze where parts of one lose their axis."""
    value, output = node.inputs[0], node.outputs[0]
    axis = node.attributes.get_int("axis", 0)
    length = None if value is None or value.shape is None else value.shape[axis]
    if not isinstance(length, int):
        return False
    sizes = node.inputs[1] if len(node.inputs) > 1 else None
    if sizes is not None and sizes.const_value is None:
        return False
    given = np.ones(length, np.int64) if sizes is None else np.asarray(sizes.const_value)
    if given.ndim == 0:
        whole, rest = divmod(length, int(given))
        given = np.array([int(given)] * whole + [rest] * bool(rest), np.int64)
    parts = constant(graph, f"{output.name}/parts", given.astype(np.int64))
    split = ir.node("Split", [value, parts], {"axis": axis}, num_outputs=len(given), name=node.name)
    for place, part in enumerate(split.outputs):
        part.name = f"{output.name}/{place}"
    split.metadata_props.update(node.metadata_props)
    graph.insert_before(node, split)
    members[output] = list(split.outputs)
    if sizes is None and not node.attributes.get_int("keepdims", 1):
        axes = constant(graph, f"{output.name}/axis", np.array([axis], np.int64))
        members[output] = []
        for part in split.outputs:
            squeeze = ir.node("Squeeze", [part, axes], name=f"{part.name}/squeeze")
            squeeze.outputs[0].name = f"{part.name}/squeezed"
            graph.insert_before(node, squeeze)
            members[output].append(squeeze.outputs[0])
    return True


def _read(graph: ir.Graph, node: ir.Node, members: _Members) -> bool:
    """Write what a node takes out of a sequence; an optional that is given is what it holds."""
    source, output = node.inputs[0], node.outputs[0]
    if source is None or source not in members:
        return False
    held = members[source]
    if node.op_type == "ConcatFromSequence":
        _concat(graph, node, held)
    elif node.op_type == "SequenceLength":
        length = constant(graph, f"{output.name}/length", np.array(len(held), np.int64))
        replace(graph, node, [ir.node("Identity", [length], name=node.name)])
    else:
        place = _number(node, 1) if node.op_type == "SequenceAt" else 0
        if place is None or not -len(held) <= place < len(held):
            return False
        replace(graph, node, [ir.node("Identity", [held[place]], name=node.name)])
    return True


def _concat(graph: ir.Graph, node: ir.Node, held: list[ir.Value]) -> None:
    axis, output = node.attributes.get_int("axis", 0), node.outputs[0]
    nodes: list[ir.Node] = []
    if node.attributes.get_int("new_axis", 0):
        axes = constant(graph, f"{output.name}/axis", np.array([axis], np.int64))
        for place, value in enumerate(held):
            nodes.append(ir.node("Unsqueeze", [value, axes], name=f"{node.name}/{place}"))
            nodes[-1].outputs[0].name = f"{output.name}/{place}"
        held = [part.outputs[0] for part in nodes]
    replace(graph, node, [*nodes, ir.node("Concat", held, {"axis": axis}, name=node.name)])


def _number(node: ir.Node, place: int) -> int | None:
    value = node.inputs[place] if len(node.inputs) > place else None
    if value is None or value.const_value is None:
        return None
    return int(value.const_value.numpy())
