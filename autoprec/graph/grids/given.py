"""The Q/DQ pairs that a quantised model had at a node, recorded beside the float graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from autoprec.graph.grids.levels import Levels
from autoprec.graph.grids.pairs import Pair, bounds

GIVEN = "autoprec.given"
"""The key of a node's or an output's metadata that holds its pairs; `model/incoming.py` writes it."""
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
    """Note the pair that an input of a node came behind; the first one stays."""
    node.meta.setdefault(GIVEN, {}).setdefault(place, pair)


def given(node: ir.Node) -> Mapping[int, Pair | Levels]:
    """The pairs that a node's inputs came behind, by place."""
    grids: Mapping[int, Pair | Levels] = node.meta.get(GIVEN, {})
    return grids


def given_output(value: ir.Value) -> Pair | None:
    """The pair that an output of the graph came behind."""
    pair: Pair | None = value.meta.get(GIVEN)
    return pair


def given_precisions(nodes: Iterable[ir.Node]) -> frozenset[str]:
    """Names of the precisions that some of these nodes came in; empty if none came quantised."""
    kinds = {pair.kind for node in nodes for pair in given(node).values()}
    return frozenset(_PRECISIONS[kind] for kind in kinds if kind in _PRECISIONS)


def unclipped(value: ir.Value, pair: Pair) -> ir.Value:
    """What was quantised: not the value behind an operator that clips as this very pair does."""
    limits = bounds(pair)
    while (node := value.producer()) is not None and (held := node.meta.get(CLIPPED)) is not None:
        source = node.inputs[0]
        if source is None or not all(np.array_equal(a, b) for a, b in zip(held, limits, strict=True)):
            break
        value = source
    return value
