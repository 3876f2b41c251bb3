"""What a Q/DQ pair clips, put back as an operator where the pair is taken away.

Quantisers drop ReLU, ReLU6 and Clip into the clipping of the grid behind them, so a pair that is lifted off
leaves its bounds behind, but for those that what it reads keeps anyway.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from autoprec.graph.grids.given import CLIPPED
from autoprec.graph.grids.pairs import Array, Pair, bounds, spread

_CLIP_WITH_INPUTS = 11
"""The first opset whose Clip has its bounds as inputs."""
_KNOWN: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "Relu": (0.0, math.inf),
        "Sigmoid": (0.0, 1.0),
        "HardSigmoid": (0.0, 1.0),
        "Softmax": (0.0, 1.0),
        "Tanh": (-1.0, 1.0),
        "Abs": (0.0, math.inf),
        "Exp": (0.0, math.inf),
        "Sqrt": (0.0, math.inf),
        "Softplus": (0.0, math.inf),
        "ReduceL2": (0.0, math.inf),
    }
)
"""Where the results of operators lie."""
_SELECTING = frozenset(
    {"MaxPool", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather",
     "GlobalMaxPool", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Identity", "GlobalAveragePool"}
)  # fmt: skip
"""Ops whose results lie where their first input does."""
_DEPTH = 8


def clipped(graph: ir.Graph, value: ir.Value, pair: Pair) -> ir.Value:
    """A value within the bounds of a pair: the value itself if it cannot leave them by half a step."""
    low, high = bounds(pair)
    # Bounds nearer than this round to the same level of the grid: an operator for them would change nothing.
    step = pair.scale / 2
    known_low, known_high = _range(value)
    needs_low, needs_high = bool((low - step > known_low).any()), bool((high + step < known_high).any())
    if not (needs_low or needs_high):
        return value
    # Pairs of one value with the same bounds share one operator.
    for use in value.uses():
        held = use.node.meta.get(CLIPPED)
        if held is not None and all(np.array_equal(a, b) for a, b in zip(held, (low, high), strict=True)):
            return use.node.outputs[0]
    limits = low if needs_low else None, high if needs_high else None
    if pair.axis is None:
        nodes = [_clip(graph, value, *limits)]
    else:
        shape = (1,) * len(value.shape or ())
        nodes = _between(
            graph, value, *(None if limit is None else spread(pair, limit, shape) for limit in limits)
        )
    _put_in(graph, value, nodes)
    for node in nodes:
        # Lets the writer leave the operator out where the pair itself is put back: see `given.unclipped`.
        node.meta[CLIPPED] = low, high
    return nodes[-1].outputs[0]


def _range(value: ir.Value, depth: int = _DEPTH) -> tuple[float, float]:
    """Bounds of a value that follow from the operators that make it."""
    node = value.producer()
    if node is None or not depth:
        return -math.inf, math.inf
    if CLIPPED in node.meta:
        low, high = node.meta[CLIPPED]
        return float(low.min()), float(high.max())
    if node.op_type in _KNOWN:
        return _KNOWN[node.op_type]
    sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    if node.op_type not in _SELECTING and node.op_type != "Concat":
        return -math.inf, math.inf
    # So many back at most: a chain of operators that select is walked once for each pair.
    ranges = [_range(source, depth - 1) for source in sources if source is not None]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _clip(graph: ir.Graph, value: ir.Value, low: Array | None, high: Array | None) -> ir.Node:
    """The operator that clips all values between the same bounds; None for an open end."""
    if high is None and low is not None and not low.any():
        return ir.node("Relu", [value])
    limits = {"min": low, "max": high}
    if graph.opset_imports.get("", 0) < _CLIP_WITH_INPUTS:
        given = {key: float(limit) for key, limit in limits.items() if limit is not None}
        return ir.node("Clip", [value], given)
    inputs = [
        None if limit is None else _constant(graph, f"{value.name}/clip/{key}", limit)
        for key, limit in limits.items()
    ]
    return ir.node("Clip", [value, *inputs])


def _between(graph: ir.Graph, value: ir.Value, low: Array | None, high: Array | None) -> list[ir.Node]:
    """The operators that clip between bounds of each channel or block."""
    # Clip takes one number for all values; Max and Min broadcast.
    nodes: list[ir.Node] = []
    for op, limit in (("Max", low), ("Min", high)):
        if limit is not None:
            source = nodes[-1].outputs[0] if nodes else value
            nodes.append(ir.node(op, [source, _constant(graph, f"{value.name}/clip/{op.lower()}", limit)]))
    return nodes


def _put_in(graph: ir.Graph, value: ir.Value, nodes: list[ir.Node]) -> None:
    """Insert nodes behind the one that makes a value, in the same module scope."""
    maker = value.producer()
    stem = value.name if maker is None else maker.name or value.name
    others = sum(CLIPPED in use.node.meta for use in value.uses())  # of pairs with other bounds
    for node in nodes:
        ending = f"{node.op_type.lower()}{others or ''}"
        node.name, result = f"{stem}/{ending}", node.outputs[0]
        result.name, result.shape, result.type = f"{value.name}/{ending}", value.shape, value.type
        if maker is not None:
            node.metadata_props.update(maker.metadata_props)
    if maker is None:
        graph.insert_before(graph[0], nodes)
    else:
        graph.insert_after(maker, nodes)


def _constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """A bound as an initializer of its own: another pair of the same value may have other bounds."""
    while name in graph.initializers:
        name += "_"
    tensor = ir.tensor(np.asarray(array, np.float32), name=name)
    kind = ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value
