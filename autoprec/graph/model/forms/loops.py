"""Loops whose number of rounds is known: written out, one round after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from autoprec.graph.model.forms.splicing import names_in, splice, stand_in
from autoprec.graph.model.passing import constant

_MOST_NODES = 4096
"""Loops that make more nodes than this are left: no engine is good at such a graph."""
_MOST_IN_ALL = 4 * _MOST_NODES
"""No loop is written out in a graph of more nodes: each round may hold a loop."""
_FIRST_SCAN = 9
"""The first opset whose Scan has no batches."""
_AXES_ARE_INPUTS = 13


class _Collected(NamedTuple):
    """An output that each round adds a part to: the parts, the axis along which they are joined, and whether
    the last one comes first."""

    parts: list[ir.Value]
    axis: int = 0
    backwards: bool = False


def unroll_known(graph: ir.Graph) -> bool:
    """Write out Loop and Scan nodes that run a known number of times, in place; returns whether there were
    any. Conditions that only a round computes stay, as do loops of too many nodes."""
    is_changed = False
    for node in [node for node in graph if node.domain == "" and node.op_type in ("Loop", "Scan")]:
        rounds = _rounds(node)
        if rounds is None or _size(node, rounds) > _MOST_NODES or len(graph) > _MOST_IN_ALL:
            continue
        unroll = _unroll_loop if node.op_type == "Loop" else _unroll_scan
        is_changed |= unroll(graph, node, rounds)
    return is_changed


def _body(node: ir.Node) -> ir.Graph:
    return node.attributes["body"].as_graph()


def _size(node: ir.Node, rounds: int) -> int:
    """Nodes that a loop makes, with those of loops within it whose rounds are known by now."""
    within = ((inner, _rounds(inner)) for inner in _body(node) if inner.op_type in ("Loop", "Scan"))
    more = sum(_size(inner, number) for inner, number in within if number is not None)
    return rounds * max(1, len(_body(node)) + more)


def _rounds(node: ir.Node) -> int | None:
    """How often a node runs its body; None where only the run decides."""
    if node.op_type == "Scan":
        return _length(node) if node.version is None or node.version >= _FIRST_SCAN else None
    count, condition = (value for value in node.inputs[:2])
    if condition is not None and (initial := _constant(condition)) != 1:
        return 0 if initial == 0 else None
    if count is None or not _is_true(_body(node).outputs[0], _body(node)):
        return None
    return None if (most := _constant(count)) is None else max(0, most)


def _length(node: ir.Node) -> int | None:
    """The length of the axis that a Scan iterates over."""
    first = node.inputs[-1]
    # The last input is always one that is iterated over, and all of these are equally long.
    axis = _numbers(node, "scan_input_axes", 1)[-1]
    length = None if first is None or first.shape is None else first.shape[axis]
    return length if isinstance(length, int) else None


def _constant(value: ir.Value) -> int | None:
    held = value.const_value
    if held is None and (node := value.producer()) is not None and node.op_type == "Constant":
        held = node.attributes["value"].as_tensor() if "value" in node.attributes else None
    return None if held is None else int(held.numpy().reshape(-1)[0])


def _is_true(value: ir.Value, body: ir.Graph) -> bool:
    """Whether the condition that a round computes is certain to be true."""
    while (node := value.producer()) is not None and node.op_type in ("Identity", "Cast"):
        source = node.inputs[0]
        assert source is not None
        value = source
    return value is body.inputs[1] or _constant(value) == 1


def _unroll_loop(graph: ir.Graph, node: ir.Node, rounds: int) -> bool:
    """Unroll a Loop: its body gets the number of the round, a condition, and the carried values."""
    count = len(node.inputs) - 2
    held = [value for value in node.inputs[2:] if value is not None]
    taken = names_in(graph)
    collected = [_Collected([]) for _ in node.outputs[count:]]
    # Of no rounds there is nothing to join, and the shape of an empty result is unknown.
    if len(held) < count or (collected and not rounds):
        return False
    for number in range(rounds):
        fed = [
            constant(graph, f"{_stem(node)}/{number}/round", np.array(number, np.int64)),
            constant(graph, f"{_stem(node)}/{number}/condition", np.array(True)),
        ]
        results = _round(graph, node, number, [*fed, *held], taken)[1:]
        held = results[:count]
        for one, part in zip(collected, results[count:], strict=True):
            one.parts.append(part)
    stand_in(graph, node, [*held, *(_joined(graph, node, one) for one in collected)])
    return True


def _unroll_scan(graph: ir.Graph, node: ir.Node, rounds: int) -> bool:
    """Unroll a Scan: its body gets the carried values, and a slice of each input that it iterates over."""
    scanned = node.attributes.get_int("num_scan_inputs", 0)
    count = len(node.inputs) - scanned
    given = [value for value in node.inputs if value is not None]
    held, sources = given[:count], given[count:]
    axes = _numbers(node, "scan_input_axes", scanned)
    backwards = _numbers(node, "scan_input_directions", scanned)
    outputs = len(node.outputs) - count
    collected = [
        _Collected([], axis, bool(turned))
        for axis, turned in zip(
            _numbers(node, "scan_output_axes", outputs),
            _numbers(node, "scan_output_directions", outputs),
            strict=True,
        )
    ]
    if not rounds:
        return False
    taken = names_in(graph)
    for number in range(rounds):
        fed: list[ir.Value] = []
        for source, axis, turned in zip(sources, axes, backwards, strict=True):
            place = constant(
                graph,
                f"{_stem(node)}/{number}/place",
                np.array(rounds - 1 - number if turned else number, np.int64),
            )
            fed.append(_before(graph, node, ir.node("Gather", [source, place], {"axis": axis})))
        results = _round(graph, node, number, [*held, *fed], taken)
        held = results[:count]
        for one, part in zip(collected, results[count:], strict=True):
            one.parts.append(part)
    stand_in(
        graph,
        node,
        [*held, *(_joined(graph, node, one) for one in collected)],
    )
    return True


def _round(
    graph: ir.Graph, node: ir.Node, number: int, fed: Sequence[ir.Value], taken: set[str]
) -> list[ir.Value]:
    """Insert one round in front of a node; returns the body's outputs.

    Args:
        graph: that the node is in.
        node: the loop.
        number: of the round, from 0.
        fed: what the body is given.
        taken: the names in the graph; see `splice`.
    """
    # A body may read values of the graph around it.
    body = _body(node).clone(allow_outer_scope_values=True)
    passed = {}
    for given, value in zip(list(body.inputs), fed, strict=True):
        passed[given] = value
        for use in given.uses():
            use.node.replace_input_with(use.idx, value)
    # An output of a body may be one of its own inputs, which are not spliced in.
    results = splice(graph, node, body, f"{_stem(node)}/{number}", taken)
    return [passed.get(value, value) for value in results]


def _joined(graph: ir.Graph, node: ir.Node, collected: _Collected) -> ir.Value:
    """The parts that rounds made, along a new axis."""
    parts = [_before(graph, node, _unsqueezed(graph, part, collected.axis)) for part in collected.parts]
    if collected.backwards:
        parts.reverse()
    return _before(graph, node, ir.node("Concat", parts, {"axis": collected.axis}))


def _unsqueezed(graph: ir.Graph, value: ir.Value, axis: int) -> ir.Node:
    if graph.opset_imports.get("", _AXES_ARE_INPUTS) < _AXES_ARE_INPUTS:
        return ir.node("Unsqueeze", [value], {"axes": [axis]})
    axes = constant(graph, f"{value.name}/axis", np.array([axis], np.int64))
    return ir.node("Unsqueeze", [value, axes])


def _before(graph: ir.Graph, node: ir.Node, new: ir.Node) -> ir.Value:
    """Put a node before another; returns what it makes."""
    output = new.outputs[0]
    first = new.inputs[0]
    # The graph grows with each node that is put in: its length tells equal ones apart.
    output.name = f"{_stem(node)}/{'' if first is None else first.name}/{new.op_type}/{len(graph)}"
    graph.insert_before(node, new)
    return output


def _numbers(node: ir.Node, name: str, count: int) -> list[int]:
    """An attribute of one number for each; zeros by default."""
    held = node.attributes.get(name)
    return [0] * count if held is None else list(held.as_ints())


def _stem(node: ir.Node) -> str:
    return str(node.name or node.outputs[0].name)
