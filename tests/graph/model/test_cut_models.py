"""A model cut off behind a node gives out all that later nodes read, as the whole computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from autoprec.graph.model.cuts import cuts, values_of, write_cut

TEXT = """<ir_version: 10, opset_import: ["": 22]> net (float[4] x) => (float[4] y, float[4] a)
<float[4] w = {1.0, -2.0, 3.0, -4.0}> {
    k = Abs (w)  a = Neg (x)  b = Mul (a, k)  [sum] c = Add (a, b)  y = Relu (c)
}"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_there_is_a_cut_behind_each_node_that_depends_on_the_inputs(path: Path) -> None:
    assert [(cut.node, cut.op_type, cut.values) for cut in cuts(path)] == [
        ("a", "Neg", ("a",)),
        ("b", "Mul", ("a", "b")),
        ("sum", "Add", ("a", "c")),
        ("y", "Relu", ("a", "y")),
    ]
    assert values_of(path) == {"k", "a", "b", "c", "y"}


def test_a_cut_computes_what_the_whole_does_there(path: Path) -> None:
    x = np.array([0.5, -1, 2, -3], np.float32)
    wanted: dict[str, np.ndarray] = {
        "a": -x,
        "b": -x * [1, 2, 3, 4],
        "c": -x * [2, 3, 4, 5],
        "y": np.maximum(-x * [2, 3, 4, 5], 0),
    }
    for cut in cuts(path):
        part = onnx.load(write_cut(path, cut.values, path.with_name("cut.onnx")))
        results = list(ReferenceEvaluator(part).run(None, {"x": x}))
        np.testing.assert_allclose(results, [wanted[name] for name in cut.values])


def test_what_a_cut_gives_out_has_a_type_where_the_model_says_none(path: Path) -> None:
    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, path)
    (value,) = onnx.load(write_cut(path, ["b"], path.with_name("cut.onnx"))).graph.output
    assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
