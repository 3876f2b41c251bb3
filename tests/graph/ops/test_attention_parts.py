"""Attention's products are distinguished by their Softmax, and may stay floats each by itself."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from parsed_nodes import graph_of, node_of

from autoprec.backends import run
from autoprec.backends.exact import WRONG, Exact, deviation
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.ops.attention import attention_part
from autoprec.graph.ops.pointwise import is_about
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.legality.inputs import feeds_of
from autoprec.legality.judge import judge
from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, Block

HEAD = (
    '<ir_version: 10, opset_import: ["": 20]> net (float[1,2,8,16] q, float[1,2,16,8] k, float[1,2,8,16] v) '
)
PLAIN = "[one] s = MatMul(q, k)  p = Softmax(s)  [two] y = MatMul(p, v)"
SCALED = (
    "[one] s = MatMul(q, k)  d = Div(s, four)  m = Add(d, mask)  p = Softmax(m)  c = Identity(p) "
    "[two] y = MatMul(c, v)"
)
OTHER = "[one] s = MatMul(q, k)  p = Relu(s)  [two] y = MatMul(p, v)"


def blocks(folder: Path, body: str, *precisions: str) -> tuple[Block, ...]:
    constants = "<float[1] four = {4}, float[1] mask = {0}>"
    proto = onnx.parser.parse_model(f"{HEAD} => (float[1,2,8,16] y) {constants} {{ {body} }}")
    onnx.save(proto, folder / "model.onnx")
    model = load_model(folder / "model.onnx")
    return judge(partition(model, minimum=1, maximum=1), model, ("fp32", *precisions))


@pytest.mark.parametrize(("body", "parts"), [(PLAIN, "qk pv"), (SCALED, "qk pv"), (OTHER, " ")])
def test_a_product_is_told_by_its_softmax(body: str, parts: str, tmp_path: Path) -> None:
    blocks(tmp_path, body)
    graph = load_model(tmp_path / "model.onnx").graph
    by_node = {str(node.name): attention_part(node) for node in graph}
    assert [by_node["one"], by_node["two"]] == parts.split(" ")


def chained(count: int) -> str:
    """That many operators between each product and the Softmax."""
    before, behind = ([first, *(f"{first}{place}" for place in range(count))] for first in ("s", "p"))
    copies = (
        "".join(f"{new} = Identity({old})  " for old, new in pairwise(names)) for names in (before, behind)
    )
    front, rear = copies
    return (
        f"[one] s = MatMul(q, k)  {front} p = Softmax({before[-1]})  {rear} [two] y = MatMul({behind[-1]}, v)"
    )


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (chained(0), ("qk", "pv")),
        (chained(7), ("qk", "pv")),
        (chained(8), ("", "")),  # so far off is no attention that an engine fuses
        ("[one] s = MatMul(q, k)  p = Softmax(s)  o = Relu(s)  [two] y = MatMul(p, v)", ("", "pv")),
        (
            "[one] s = MatMul(q, k)  p = Softmax(s)  w = Where(yes, p, mask)  [two] y = MatMul(w, v)",
            ("qk", "pv"),
        ),
        (
            "[one] s = MatMul(q, k)  p = Softmax(s)  w = Where(yes, mask, p)  [two] y = MatMul(w, v)",
            ("qk", "pv"),
        ),
        ("[one] s = MatMul(q, k)  p = Softmax(s)  w = Mul(p, p)  [two] y = MatMul(w, v)", ("qk", "")),
        ("[one] s = MatMul(q, k)  p = Softmax(v)  [two] y = MatMul(s, p)", ("", "")),
    ],
)
def test_what_lies_between_a_product_and_its_softmax_passes_values_on(
    body: str, parts: tuple[str, str]
) -> None:
    scores = np.zeros((1, 2, 8, 8), np.float32)
    constants: dict[str, Any] = {"mask": scores, "yes": scores == 0}
    head = "(float[1,2,8,16] q, float[1,2,16,8] k, float[1,2,8,16] v) => (float[a,b,c,d] y)"
    by_name = {str(node.name): attention_part(node) for node in graph_of(f"{head} {{ {body} }}", **constants)}
    assert (by_name["one"], by_name["two"]) == parts


def test_a_product_with_weights_is_no_part_of_attention() -> None:
    node = node_of(
        "(float[8,8] x) => (float[n,m] y) { s = MatMul(x, w)  p = Softmax(s)  y = MatMul(p, w) }",
        w=np.ones((8, 8), np.float32),
    )
    assert attention_part(node) == ""


@pytest.mark.parametrize(("precision", "pairs"), [("int8", 4), ("int8+qk-float", 2), ("int8+pv-float", 2)])
def test_a_part_in_floats_has_pairs_on_neither_side_and_the_engine_computes_it_right(
    precision: str, pairs: int, tmp_path: Path
) -> None:
    [block] = blocks(tmp_path, PLAIN, precision)
    assert precision in block.allowed
    model = load_model(tmp_path / "model.onnx")
    ranges = dict.fromkeys(("q", "k", "v"), 4.0) | {"p": 1.0}
    typed = Rewriter(model, (block,), ranges, base="fp32")
    path = tmp_path / "typed.onnx"
    typed.write(Assignment(choices=((block.name, precision),)), path)
    assert [node.op_type for node in onnx.load(path).graph.node].count("QuantizeLinear") == pairs
    feeds = feeds_of(path)
    with OpenVinoBackend({}).build(path) as engine, Exact().build(path) as exact:
        assert deviation(run(engine, feeds), run(exact, feeds)).error < WRONG


def test_a_block_without_attention_has_no_choice_of_its_parts(tmp_path: Path) -> None:
    [block] = blocks(tmp_path, OTHER, "int8", "int8+pv-float")
    assert dict(block.refused) == {"int8+pv-float": "is the same as int8 here"}


def test_a_block_of_one_product_in_floats_gains_nothing(tmp_path: Path) -> None:
    [block] = blocks(tmp_path, "p = Softmax(q)  t = MatMul(p, k)  y = Identity(v)", "int8", "int8+pv-float")
    assert dict(block.refused)["int8+pv-float"] == "has no op that would gain by it"


@pytest.mark.parametrize(
    ("precision", "typed"),
    [
        ("fp16", "one two"),
        ("int8", "one two"),
        ("int8+qk-float", "two"),
        ("int8+pv-float", "one"),
        ("int4", ""),
    ],
)
def test_a_precision_is_about_the_products_that_it_types(precision: str, typed: str, tmp_path: Path) -> None:
    blocks(tmp_path, PLAIN)
    graph = load_model(tmp_path / "model.onnx").graph
    names = [n.name for n in graph if n.op_type == "MatMul" and is_about(PRECISIONS[precision], n)]
    assert names == typed.split()
