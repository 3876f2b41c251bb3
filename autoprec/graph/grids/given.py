"""What a node came with: the Q/DQ pairs that a quantised model had there, noted beside the float graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from autoprec.graph.grids.levels import Levels
from autoprec.graph.grids.pairs import Pair

GIVEN = "autoprec.given"
"""The key of a node's or an output's metadata that holds its pairs; `model/incoming.py` writes it."""
_PRECISIONS = {
    ir.DataType.INT8: "int8",
    ir.DataType.UINT8: "int8",
    ir.DataType.FLOAT8E4M3FN: "fp8",
    ir.DataType.INT4: "int4",
    ir.DataType.UINT4: "int4",
    ir.DataType.FLOAT4E2M1: "nvfp4",
}


def given(node: ir.Node) -> Mapping[int, Pair | Levels]:
    """The pairs that a node's inputs came behind, by place."""
    found: Mapping[int, Pair | Levels] = node.meta.get(GIVEN, {})
    return found


def given_output(value: ir.Value) -> Pair | None:
    """The pair that an output of the graph came behind."""
    found: Pair | None = value.meta.get(GIVEN)
    return found


def given_precisions(nodes: Iterable[ir.Node]) -> frozenset[str]:
    """Names of the precisions that some of these nodes came in; empty if none came quantised."""
    kinds = {pair.kind for node in nodes for pair in given(node).values()}
    return frozenset(_PRECISIONS[kind] for kind in kinds if kind in _PRECISIONS)
