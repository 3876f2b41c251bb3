"""Blocks are cut where they were before: a study is bound to its blocks, and would not resume with others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from test_partition import renamed, residuals, transformer

from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model


def layers_of_a_chain() -> onnx.ModelProto:
    proto = residuals(100)
    for number, node in enumerate(proto.graph.node):
        node.name = f"/layers.{number // 3}/{node.op_type}"
    return proto


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "scopes in names": lambda: renamed(True, False),
    "scopes in metadata": lambda: renamed(False, True),
    "no scopes": lambda: renamed(False, False),
    "a chain": lambda: residuals(60),
    "layers of a chain": layers_of_a_chain,
    "a transformer": lambda: transformer(12),
    "a deep transformer": lambda: transformer(20),
    "a flat transformer": lambda: transformer(6),
}


@pytest.mark.parametrize(
    ("model", "limits", "count", "digest"),
    [
        ("scopes in names", {}, 18, "b43a7a068c1f"),
        ("scopes in names", {"minimum": 1, "maximum": 5}, 5, "a931c89e3993"),
        ("scopes in names", {"minimum": 30, "maximum": 60}, 21, "91076f459f9e"),
        ("scopes in names", {"depth": 1}, 3, "714ee90cfe7c"),
        ("scopes in names", {"depth": 2}, 8, "e2d9babe283c"),
        ("scopes in names", {"depth": 3}, 11, "15ba2557aa19"),
        ("scopes in metadata", {}, 18, "d5d3edf6f083"),
        ("no scopes", {}, 19, "364ad629078c"),
        ("no scopes", {"maximum": 6}, 6, "97a3d774679b"),
        ("a chain", {}, 24, "261a88aedca2"),
        ("layers of a chain", {}, 40, "c9d5a8f7b77c"),
        ("a transformer", {}, 24, "c91e332d4d96"),
        ("a deep transformer", {}, 20, "0d8448316455"),
        ("a flat transformer", {"maximum": 4}, 4, "6609c455b2c2"),
    ],
)
def test_names_borders_and_costs_of_blocks_are_what_studies_were_bound_to(
    model: str, limits: dict[str, Any], count: int, digest: str, tmp_path: Path
) -> None:
    onnx.save(MODELS[model](), tmp_path / "model.onnx")
    blocks = partition(load_model(tmp_path / "model.onnx"), **limits)
    told = [
        (b.name, b.nodes, b.macs, b.parameters, b.weight_bytes, b.inputs, b.outputs, b.op_counts)
        for b in blocks
    ]
    assert (len(blocks), hashlib.sha256(repr(told).encode()).hexdigest()[:12]) == (count, digest)
