"""Scores of attention are the values that reach nothing but a Softmax."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from autoprec.graph.ops.scores import scores


def of(body: str, outputs: str = "float[2, 2] y") -> frozenset[str]:
    head = '<ir_version: 10, opset_import: ["" : 21]> g (float[2, 2] q, float[2, 2] m)'
    text = f"{head} => ({outputs}) {{ {body} }}"
    return scores(ir.from_proto(onnx.parser.parse_model(text)).graph)


def test_all_that_leads_to_a_softmax_alone_is_a_score() -> None:
    assert of("s = MatMul(q, q)  a = Add(s, m)  y = Softmax(a)") == {"s", "a"}


@pytest.mark.parametrize(
    "body",
    [
        "s = MatMul(q, q)  a = Relu(s)  y = Softmax(a)",  # what computes is no passing on
        "s = MatMul(q, q)  a = Add(s, m)  p = Softmax(a)  y = Add(p, s)",  # it is read elsewhere too
        "s = MatMul(q, q)  a = Add(s, m)  y = Relu(a)",  # no Softmax
    ],
)
def test_what_goes_elsewhere_is_none(body: str) -> None:
    assert "s" not in of(body)


def test_an_output_of_the_graph_is_none() -> None:
    assert of("s = MatMul(q, q)  y = Softmax(s)", "float[2, 2] y, float[2, 2] s") == set()


def test_parts_are_scores_where_every_part_is() -> None:
    split = "n = Constant<value = int64[2] {1, 1}>()  s = MatMul(q, q)  a, b = Split<axis = 0>(s, n)"
    assert "s" not in of(f"{split}  p = Softmax(a)  y = Add(p, b)")
