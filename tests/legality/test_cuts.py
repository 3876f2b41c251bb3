from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from autoprec.graph.model.load import load_model
from autoprec.legality.cuts import cuts

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
