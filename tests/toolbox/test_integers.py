"""A model in ONNX Runtime's QOperator format is read as Q/DQ pairs around floats."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model, notes
from autoprec.graph.model.unrounded import write_unrounded
from autoprec.graph.rewrite.rewrite import Rewriter
from mbconv import Array, images, uniform

FLOATS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,8,12,12] image) => (float[1,4,12,12] masks, float[1,3] scores) {
  a = Conv <pads = [1,1,1,1]> (image, w1, b1)
  b = Relu (a)
  p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (b)
  c = Conv (p, w2)
  s = Sigmoid (c)
  l = LeakyRelu <alpha = 0.2> (c)
  m = Mul (s, l)
  k = Concat <axis = 1> (m, p)
  v = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]> (k)
  r = Reshape (v, rows)
  t = Transpose <perm = [0,2,1]> (r)
  q = MatMul (t, w3)
  h = Softmax <axis = -1> (q)
  d = Add (h, h)
  x = Add (d, q)
  y = Transpose <perm = [0,2,1]> (x)
  z = Reshape (y, planes)
  masks = Resize <mode = "nearest"> (z, none, twice)
  g = GlobalAveragePool (k)
  f = Flatten (g)
  scores = Gemm <transB = 1> (f, w4, b4)
}"""
SHAPES = {"w1": (8, 8, 3, 3), "b1": (8,), "w2": (8, 8, 1, 1), "w3": (16, 4), "w4": (3, 16), "b4": (3,)}


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._feeds = iter(images(8))

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def quantised(folder: Path, mode: str = "nearest", **options: object) -> Path:
    random = np.random.default_rng(0)
    proto = onnx.parser.parse_model(FLOATS.replace("none", "").replace("nearest", mode))
    arrays = {n: random.standard_normal(s).astype(np.float32) / 3 for n, s in SHAPES.items()}
    sizes = {"rows": [1, 16, 36], "planes": [1, 4, 6, 6]}
    constants = arrays | {name: np.array(size) for name, size in sizes.items()}
    constants["twice"] = np.array([1, 1, 2, 2], np.float32)
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    onnx.save(proto, folder / "float.onnx")
    logging.disable(logging.WARNING)  # it advises a pre-processing that only shapes need
    try:
        quantize_static(
            folder / "float.onnx", folder / "model.onnx", Reader(), quant_format=QuantFormat.QOperator,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, **options,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return folder / "model.onnx"


def ran(path: Path) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, images(1, seed=5)[0]), strict=True))


@pytest.mark.parametrize("per_channel", [False, True])
def test_integers_are_computed_as_their_pairs_say(tmp_path: Path, per_channel: bool) -> None:
    path = quantised(tmp_path, per_channel=per_channel)
    assert sum(node.op_type.startswith("Q") for node in onnx.load(path).graph.node) > 10
    model = load_model(path)
    blocks = partition(model, minimum=1, maximum=1)
    Rewriter(model, blocks, {}, base="fp32").write(uniform(blocks, "int8"), tmp_path / "int8.onnx")
    wanted, output = ran(path), ran(tmp_path / "int8.onnx")
    for name, array in wanted.items():
        assert np.abs(output[name] - array).max() < 0.03 * np.abs(array).max()


def test_a_resize_that_cuts_integers_is_told(tmp_path: Path) -> None:
    assert notes(load_model(quantised(tmp_path))) == ()
    (words,) = notes(load_model(quantised(tmp_path, "linear")))
    assert words.startswith("1 Resize nodes interpolate between integers, the first is ")


def test_floats_behind_integers_are_those_of_the_float_model(tmp_path: Path) -> None:
    path = quantised(tmp_path)
    model = load_model(path)
    blocks = partition(model, minimum=1, maximum=1)
    Rewriter(model, blocks, {}, base="fp32").write(uniform(blocks, "fp32"), tmp_path / "fp32.onnx")
    assert write_unrounded(path, tmp_path / "unrounded.onnx")
    for name, array in ran(tmp_path / "fp32.onnx").items():
        assert np.abs(ran(tmp_path / "unrounded.onnx")[name] - array).max() < 1e-5
        assert np.abs(ran(tmp_path / "float.onnx")[name] - array).max() < 0.05 * np.abs(array).max()
