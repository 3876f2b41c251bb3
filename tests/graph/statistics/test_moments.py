"""Moments are kept of as many ops as memory takes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from autoprec.graph.statistics import moments
from autoprec.graph.statistics.moments import MomentSums

TEXT = """<ir_version: 10, opset_import: ["" : 22]> net (float[4,8] a) => (float[4,32] d) {
    b = MatMul (a, narrow)  c = MatMul (b, wide)  d = MatMul (c, narrow)
}"""


@pytest.mark.parametrize(
    ("room", "fitting"), [(255, ""), (511, "a"), (512, "ac"), (4351, "ac"), (4607, "ab"), (4608, "abc")]
)
def test_an_op_that_is_too_large_leaves_room_for_those_behind_it(
    room: int, fitting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "_BYTES", room)
    proto = onnx.parser.parse_model(TEXT)
    for name, shape in (("narrow", (8, 32)), ("wide", (32, 8))):
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    # 8 x 8, 32 x 32 and 8 x 8 numbers of 4 bytes.
    assert MomentSums(model.graph).inputs == set(fitting)
