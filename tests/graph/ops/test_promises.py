"""What a candidate promises is checked on the candidate itself, and what its rules ask of a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from parsed_nodes import graph_of, node_of

from autoprec.errors import TrialError
from autoprec.graph.rewrite.fused import _adds_constants
from autoprec.graph.rewrite.rewrite import _ensure
from autoprec.graph.rewrite.writer import _prefixes


def test_a_candidate_whose_types_do_not_fit_is_refused() -> None:
    graph = graph_of("(float[4] x) => (float[4] y) { a = Relu(x)  y = Add(a, a) }")
    model = ir.Model(graph, ir_version=10)
    _ensure(model, model)
    (inner,) = graph[0].outputs
    inner.type = ir.TensorType(ir.DataType.FLOAT16)
    with pytest.raises(TrialError, match="the rewritten model is not valid"):
        _ensure(model, model)


def test_a_candidate_with_another_output_is_refused() -> None:
    models = (graph_of(f"(float[{n}] x) => (float[{n}] y) {{ y = Relu(x) }}") for n in (4, 5))
    with pytest.raises(TrialError, match="the rewriter changed"):
        _ensure(*(ir.Model(graph, ir_version=10) for graph in models))


def test_names_of_our_own_avoid_all_names_and_what_stands_before_their_slashes() -> None:
    graph = graph_of("(float[4] x) => (float[4] y) { a = Relu(x)  y = Add(a, a) }")
    graph[0].name, graph[1].name = "block/one/relu", "add"
    (inner,) = graph[0].outputs
    inner.name = "block/two"
    assert _prefixes(graph) == {"x", "y", "add", "block", "block/one", "block/one/relu", "block/two"}


@pytest.mark.parametrize(
    ("product", "constant", "stays"),
    [((2, 4), (4,), True), ((2, 1), (4,), False), ((1, 4), (3, 4), True), ((4, 2), (4, 1), True)],
)
def test_columns_of_a_product_stay_columns_behind_an_add_that_does_not_widen_them(
    product: tuple[int, ...], constant: tuple[int, ...], stays: bool
) -> None:
    sizes, array = ",".join(map(str, product)), np.ones(constant, np.float32)
    node = node_of(f"(float[{sizes}] x) => (y) {{ y = Add(x, c) }}", c=array)
    assert _adds_constants(node) == stays
