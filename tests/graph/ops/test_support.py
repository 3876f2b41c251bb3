"""Which types an operator takes, and what its outputs are then, by ONNX's own schemas."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from parsed_nodes import node_of

from autoprec.graph.ops.support import float_inputs, float_types, mistyped, output_types, supports

FLOAT, HALF, BFLOAT = ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16
UP: dict[str, Any] = {"up": np.array([2.0, 2.0], np.float32), "k": np.array([1], np.int64)}


def node(body: str, inputs: str = "float[4,4] x, float[4,4] z") -> ir.Node:
    return node_of(f"({inputs}) => (float[n,m] y) {{ y = {body} }}", **UP)


@pytest.mark.parametrize(
    ("body", "half", "bfloat"),
    [
        ("MatMul(x, z)", True, True),
        ('Einsum<equation = "ij,jk->ik">(x, z)', True, False),
        ("Resize(x, , up)", False, False),  # its scales are FLOAT whatever the data
        ("RandomNormalLike(x)", False, False),
        ("ours.Op(x)", False, False),
    ],
)
def test_a_type_is_taken_where_every_float_input_takes_it(body: str, half: bool, bfloat: bool) -> None:
    assert supports(node(body), FLOAT, 22)
    assert (supports(node(body), HALF, 22), supports(node(body), BFLOAT, 22)) == (half, bfloat)


def test_each_input_has_types_of_its_own_and_the_last_ones_hold_for_more() -> None:
    resize, concat = node("Resize(x, , up)"), node("Concat<axis = 0>(x, z, x)")
    assert float_inputs(resize) == (0, 2)
    assert HALF in float_types(resize, 0, 22)
    assert float_types(resize, 2, 22) == {FLOAT}
    assert HALF in float_types(concat, 2, 22)
    assert float_types(node("ours.Op(x)"), 0, 22) == {FLOAT}


def test_outputs_follow_the_inputs_that_they_share_a_type_with() -> None:
    top = node_of("(float[4,4] x) => (float[4,1] v, int64[4,1] i) { v, i = TopK(x, k) }", **UP)
    assert output_types(top, 22, HALF) == (HALF, ir.DataType.INT64)
    assert output_types(node("ours.Op(x)"), 22, HALF) == (FLOAT,)
    split = node_of("(float[4,4] x) => (float[2,4] a, float[2,4] b) { a, b = Split<num_outputs = 2>(x) }")
    assert output_types(split, 22, BFLOAT) == (BFLOAT, BFLOAT)
    assert output_types(node("RandomNormalLike(x)"), 22, HALF) == (FLOAT,)


@pytest.mark.parametrize(
    ("body", "inputs", "says"),
    [
        ("Add(x, z)", "float[4,4] x, float[4,4] z", ""),
        ("Add(x, z)", "float[4,4] x, float16[4,4] z", "'z' is FLOAT16, but FLOAT is beside it"),
        ("Relu(x)", "bool[4,4] x", "'x' is BOOL, which Relu does not take there"),
        ("Concat<axis = 0>(x, x, z)", "float[4,4] x, double[4,4] z", "'z' is DOUBLE, but FLOAT is beside it"),
        ("ours.Op(x)", "bool[4,4] x", ""),
    ],
)
def test_types_that_do_not_go_together_are_named(body: str, inputs: str, says: str) -> None:
    assert mistyped(node(body, inputs), 22) == says
