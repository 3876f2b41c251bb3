"""Blocks by structure, for models whose nodes have no useful names: cut where a single value passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from autoprec.graph.ops.costs import constants, is_depthwise

_LONG = 0.25
"""A value that lives over more than this share of the nodes is a long skip (a U-Net's): cuts may cross it."""
_TARGET = 24


def by_outputs(graph: ir.Graph) -> list[ir.Node]:
    """Nodes in the order in which the graph's outputs need them, whatever sorted order the file has."""
    order: dict[ir.Node, None] = {}
    for output in graph.outputs:
        # An explicit stack: a model of thousands of nodes in a row is deeper than Python may recurse.
        stack = [(output.producer(), False)]
        while stack:
            node, ready = stack.pop()
            if node is None or node in order:
                continue
            if ready:
                order[node] = None
                continue
            stack.append((node, True))
            stack += [(value.producer(), False) for value in reversed(node.inputs) if value is not None]
    return list(order)


def by_structure(nodes: Sequence[ir.Node], cost: Mapping[ir.Node, int]) -> dict[ir.Node, str]:
    """Home of each node: runs of nodes between the places where one value is alive.

    Residual branches, attention and norms have two values alive inside, so they stay whole. A depthwise
    convolution stays with the 1x1 convolutions around it.
    """
    segments = _with_cost(_cut(nodes), cost)
    segments = _whole_mbconvs(segments, cost)
    # As floats: sums of MACs of a hostile model are beyond 64 bits.
    weights = np.array([float(sum(cost[node] for node in segment)) for segment in segments])
    while len(segments) > _TARGET:
        at = int(np.argmin(weights[:-1] + weights[1:]))
        segments[at : at + 2] = [segments[at] + segments[at + 1]]
        weights = np.concatenate([weights[:at], [weights[at] + weights[at + 1]], weights[at + 2 :]])
    names = [_name(i, segment, cost) for i, segment in enumerate(segments)]
    return {node: name for name, segment in zip(names, segments, strict=True) for node in segment}


def _cut(nodes: Sequence[ir.Node]) -> list[list[ir.Node]]:
    """Nodes in runs; a new one begins where one short-lived value passes."""
    place = {node: i for i, node in enumerate(nodes)}
    ends: list[int] = [0] * (len(nodes) + 1)
    alive = 0
    segments: list[list[ir.Node]] = [[]]
    for i, node in enumerate(nodes):
        segments[-1].append(node)
        alive -= ends[i]
        for value in node.outputs:
            last = max((place[user] for user in value.consumers() if user in place), default=i)
            if i < last and last - i <= max(8, _LONG * len(nodes)) and not _is_constant(node):
                alive += 1
                ends[last] += 1
        if alive <= 1 and i + 1 < len(nodes):
            segments.append([])
    return segments


def _is_constant(node: ir.Node) -> bool:
    """Whether a node's outputs do not depend on the model's inputs (one level deep)."""
    return all(value is None or value.const_value is not None for value in node.inputs)


def _with_cost(segments: list[list[ir.Node]], cost: Mapping[ir.Node, int]) -> list[list[ir.Node]]:
    """Runs without a costly node join the one before them; at the start, the one after."""
    merged: list[list[ir.Node]] = []
    is_costly = True
    for segment in segments:
        has_cost = any(cost[n] for n in segment)
        if merged and not (has_cost and is_costly):
            merged[-1] += segment
            is_costly = is_costly or has_cost
        else:
            merged.append(segment)
            is_costly = has_cost
    return merged


def _whole_mbconvs(segments: list[list[ir.Node]], cost: Mapping[ir.Node, int]) -> list[list[ir.Node]]:
    """Put a lone depthwise convolution together with the runs before and after it."""

    def is_lone(segment: list[ir.Node]) -> bool:
        costly = [node for node in segment if cost[node]]
        return bool(costly) and all(map(is_depthwise, costly))

    merged = segments[:1]
    for before, segment in pairwise(segments):
        ends_one = is_lone(before) and sum(bool(cost[node]) for node in segment) == 1
        if is_lone(segment) or ends_one:
            merged[-1] = merged[-1] + segment
        else:
            merged.append(segment)
    return merged


def _name(number: int, segment: Sequence[ir.Node], cost: Mapping[ir.Node, int]) -> str:
    """`block_07_conv3x3_256`: place, heaviest op, its width. Names of values play no part."""
    heaviest = max(segment, key=lambda node: cost[node])
    weights = constants(heaviest)
    shape = [int(str(size)) for size in weights[0].shape or ()] if weights else []
    kind = heaviest.op_type.lower() + "x".join(str(size) for size in shape[2:])
    width = f"_{shape[0] if heaviest.op_type == 'Conv' else shape[-1]}" if shape else ""
    return f"block_{number:02d}_{kind}{width}"
