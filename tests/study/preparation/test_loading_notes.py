"""What loading changed is said before the search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from autoprec.spec import load_spec
from autoprec.study.preparation.stages import load
from tiny_study import write_study


def test_a_model_in_fp16_inside_is_said_to_be_raised(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    proto = onnx.load(tmp_path / "tiny.onnx")
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 4:
            name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}/half"))
            cast = onnx.helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT)
            proto.graph.node.insert(0, cast)
    middle = onnx.helper.make_node("Cast", ["image"], ["image/half"], to=TensorProto.FLOAT16)
    back = onnx.helper.make_node("Cast", ["image/half"], ["image/again"], to=TensorProto.FLOAT)
    for node in proto.graph.node:
        node.input[:] = ["image/again" if name == "image" else name for name in node.input]
    proto.graph.node.insert(0, back)
    proto.graph.node.insert(0, middle)
    onnx.save(proto, tmp_path / "tiny.onnx")
    said: list[str] = []
    load(load_spec(path), said.append, scores=True)
    assert any("computes in FLOAT16 inside" in line for line in said)
