"""The Q/DQ pairs that a quantised model had at a node, recorded beside the float graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from autoprec.graph.grids.levels import Levels
from autoprec.graph.grids.pairs import Pair, bounds

GIVEN = "autoprec.given"
"""The key of a node's or an output's metadata that holds its pairs; `model/incoming/` writes it."""
CLIPPED = "autoprec.clipped"
"""The key of the metadata of an operator that clips as a pair did: the bounds, as of `pairs.bounds`."""
_PRECISIONS = {
    ir.DataType.INT8: "int8",
    ir.DataType.UINT8: "int8",
    ir.DataType.FLOAT8E4M3FN: "fp8",
    ir.DataType.INT4: "int4",
    ir.DataType.UINT4: "int4",
    ir.DataType.FLOAT4E2M1: "nvfp4",
}


def give(node: ir.Node, place: int, pair: Pair | Levels) -> None:
    """Record the pair in front of a node's input; a pair recorded earlier stays."""
    # The first is the one next to the node; passes that take nodes out bring those from further up later.
    node.meta.setdefault(GIVEN, {}).setdefault(place, pair)


def given(node: ir.Node) -> Mapping[int, Pair | Levels]:
    """The recorded pairs of a node's inputs, by place."""
    grids: Mapping[int, Pair | Levels] = node.meta.get(GIVEN, {})
    return grids


def given_output(value: ir.Value) -> Pair | None:
    """The recorded pair in front of an output of the graph; None without one."""
    pair: Pair | None = value.meta.get(GIVEN)
    return pair


def given_precisions(nodes: Iterable[ir.Node]) -> frozenset[str]:
    """Names of the precisions that these nodes were quantised in; empty if none came quantised."""
    kinds = {pair.kind for node in nodes for pair in given(node).values()}
    return frozenset(_PRECISIONS[kind] for kind in kinds if kind in _PRECISIONS)


def unclipped(value: ir.Value, pair: Pair) -> ir.Value:
    """The value that the file quantised: in front of any operator that clips exactly as this pair does."""
    limits = bounds(pair)
    # With the pair put back, its own clipping does the work: a Clip in between would only cost a kernel.
    while (node := value.producer()) is not None and (held := node.meta.get(CLIPPED)) is not None:
        source = node.inputs[0]
        if source is None or not all(np.array_equal(a, b) for a, b in zip(held, limits, strict=True)):
            break
        value = source
    return value
