"""What is never negative may stand on integers without a sign; what may be is never taken for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from parsed_nodes import graph_of

from autoprec.graph.ops.signs import never_negative

CONSTANTS: dict[str, Any] = {
    "half": np.array([0.5, 0.0], np.float32),
    "minus": np.array([0.5, -0.5], np.float32),
    "zero": np.array(0.0, np.float32),
    "below": np.array(-0.5, np.float32),
    "sizes": np.array([2, 2], np.int64),
    "up": np.array([2.0, 2.0], np.float32),
}


@pytest.mark.parametrize(
    ("body", "is_positive"),
    [
        ("y = Relu(x)", True),
        ("y = Neg(x)", False),
        ("r = Relu(x)  y = Mul(r, half)", True),
        ("r = Relu(x)  y = Mul(r, minus)", False),
        ("r = Relu(x)  y = Mul(r, x)", False),
        ("r = Relu(x)  s = Sigmoid(x)  y = Add(r, s)", True),
        ("r = Relu(x)  y = Sub(r, half)", False),
        ("r = Relu(x)  t = Transpose(r)  y = MaxPool<kernel_shape = [1]>(t)", True),
        ("t = Transpose(x)  y = Flatten(t)", False),
        ("y = Clip(x, zero)", True),
        ("y = Clip(x, below)", False),
        ("y = Clip(x)", False),
        ("y = Max(x, x)", False),
        ('r = Relu(x)  y = Resize<mode = "linear">(r, , up)', True),
        ("r = Relu(x)  y = Resize(r, , up)", True),
        ('r = Relu(x)  y = Resize<mode = "cubic">(r, , up)', False),
        ("r = Relu(x)  y = Resize<extrapolation_value = -1.0>(r, , up)", False),
        ("y = Resize(x, , up)", False),
        ("y = ours.Relu(x)", False),
    ],
)
def test_a_value_is_positive_where_nothing_can_make_it_negative(body: str, is_positive: bool) -> None:
    graph = graph_of(f"(float[2,2] x) => (float[n,m] y) {{ {body} }}", **CONSTANTS)
    assert ("y" in never_negative(graph)) is is_positive


def test_values_behind_an_operator_of_another_domain_are_looked_at_again() -> None:
    body = "o = ours.Op(x)  y = Abs(o)"
    graph = graph_of(f"(float[2,2] x) => (float[n,m] y) {{ {body} }}")
    assert never_negative(graph) == {"y"}
