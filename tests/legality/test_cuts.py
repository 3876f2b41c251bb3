from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model
from autoprec.legality.cuts import cuts
from autoprec.legality.inputs import feeds_of

BODY = """<ir_version: 10, opset_import: ["": 22]>
net (float[1,64,{side},{side}] x) => (float[1,64,{side},{side}] y) {{
  p = Conv<pads = [1, 1, 1, 1]>(x, w)  a = Relu(p)
  c = Conv<pads = [1, 1, 1, 1]>(x, w)  k = Concat<axis = 1>(a, c)
  y = Conv<pads = [1, 1, 1, 1]>(k, u)
}}"""


@pytest.mark.parametrize(
    ("side", "operators"),
    [(16, ["Concat", "Conv", "Conv", "Conv", "Relu"]), (192, ["Concat", "Conv", "Relu"])],
)
def test_a_large_cut_goes_without_the_products_in_front(
    side: int, operators: list[str], tmp_path: Path
) -> None:
    proto = onnx.parser.parse_model(BODY.format(side=side))
    for name, inputs in (("w", 64), ("u", 128)):
        weights = np.ones((64, inputs, 3, 3), np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weights, name))
    onnx.save(proto, tmp_path / "net.onnx")
    (cut,) = [one for one in cuts(load_model(tmp_path / "net.onnx"), {"k": 1.0}) if one.values == ("k",)]
    assert sorted(node.op_type for node in cut.piece.model.graph) == operators


def test_a_cut_is_fed_what_its_inputs_have_in_the_model(tmp_path: Path) -> None:
    # Fed with less than one level, behind Q/DQ of its own, it would be 0, and any engine right about it.
    text = """<ir_version: 10, opset_import: ["": 22]>
    net (float[1,8,8] x) => (float[1,8,8] y) {
      p = MatMul(x, x)  a = Relu(p)  m = MatMul(a, x)  k = Concat<axis = 1>(m)  y = MatMul(k, w)
    }"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((8, 8), np.float32), "w"))
    onnx.save(proto, tmp_path / "net.onnx")
    ranges = {"k": 40.0, "a": 500.0, "x": 3.0}
    (cut,) = [one for one in cuts(load_model(tmp_path / "net.onnx"), ranges) if one.values == ("k",)]
    assert set(cut.piece.spans) == {("a", 0.0, 500.0), ("x", -3.0, 3.0)}
    write_model(cut.piece.model, tmp_path / "piece.onnx")
    fed = feeds_of(tmp_path / "piece.onnx", cut.piece.spans)["a"]
    assert fed.min() >= 0
    assert 100 < fed.max() < 1000
