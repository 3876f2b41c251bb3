"""Where an engine departs from ONNX, the model is written in a form that it computes right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from autoprec.backends import create_backend, run
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment

TEXT = """<ir_version: 10, opset_import: ["" : 20]> g (float[1,8,9,9] x) => (float[a,b,c,d] y) {
    z = Neg (x)
    MIDDLE
}"""
FORMS = {
    "smaller, smoothed": 'y = Resize <mode = "linear", antialias = 1> (z, none, none, sizes)',
    "smaller, smoothed, cubic": 'y = Resize <mode = "cubic", antialias = 1> (z, none, none, sizes)',
    "outside left out": 'y = Resize <mode = "cubic", exclude_outside = 1> (z, none, scales)',
    "a pool with a cut window": (
        "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 0, 0], ceil_mode = 1,"
        " count_include_pad = 1> (z)"
    ),
    "a window behind the values": "y = MaxPool <kernel_shape = [1, 1], strides = [4, 5], ceil_mode = 1> (z)",
    "a cut window without pads": (
        'y = LpPool <auto_pad = "VALID", kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (z)'
    ),
    "a reduction over no axes": "y = ReduceL1 <noop_with_empty_axes = 1> (z)",
    "a reduction in one row": (
        "m = ReduceSum <keepdims = 0> (z, two_axes)  t = Flatten <axis = 0> (m)  y = Unsqueeze (t, two_axes)"
    ),
    "slopes of the last axis": "p = Pad (z, wider)  q = PRelu (p, slopes)  y = Abs (q)",
    "turned and not": (
        "p = GlobalAveragePool (z)  f = Flatten (p)  a = Gemm <transB = 1> (f, w)  b = Gemm (f, w)"
        "  c = MatMul (f, w)  s = Sum (a, b, c)  y = Reshape (s, shape)"
    ),
    "not larger": (
        'y = Resize <mode = "linear", axes = [2, 3], keep_aspect_ratio_policy = "not_larger">'
        " (z, none, none, wide)"
    ),
    "not smaller": (
        'y = Resize <mode = "cubic", axes = [2, 3], keep_aspect_ratio_policy = "not_smaller">'
        " (z, none, none, wide)"
    ),
    "the nearest, not larger": (
        'y = Resize <axes = [3, 2], keep_aspect_ratio_policy = "not_larger", nearest_mode = "ceil">'
        " (z, none, none, wide)"
    ),
    "symmetric": (
        'y = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric">'
        " (z, none, larger)"
    ),
    "a region": (
        'y = Resize <mode = "cubic", axes = [3, 2], coordinate_transformation_mode = "tf_crop_and_resize">'
        " (z, region, none, wide)"
    ),
    "the nearest of a region": (
        'y = Resize <axes = [3, 2], coordinate_transformation_mode = "tf_crop_and_resize">'
        " (z, region, none, wide)"
    ),
    "a transform along the last axis": (
        "t = Unsqueeze (z, last)  p = Reshape (t, rows)  q = DFT <inverse = 1> (p)  y = Reshape (q, pairs)"
    ),
    "a vector of one value": "t = Unsqueeze (z, last)  p = MatMul (t, one)  y = Abs (p)",
    "a convolution and its transpose": "a = Conv (z, k)  b = ConvTranspose (z, k)  y = Add (a, b)",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_engine_computes_what_the_file_says(form: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    proto = onnx.parser.parse_model(TEXT.replace("MIDDLE", FORMS[form].replace("none", "")))
    arrays = {
        "sizes": np.array([1, 8, 4, 5]),
        "wide": np.array([7, 20]),
        "larger": np.array([1, 1, 1.7, 0.45], np.float32),
        "region": np.array([0.2, 0, 0.9, 0.7], np.float32),
        "one": np.array([-0.5], np.float32),
        "rows": np.array([1, 72, 9, 1]),
        "pairs": np.array([1, 72, 9, 2]),
        "last": np.array([4]),
        "two_axes": np.array([0, 1]),
        "wider": np.array([0, 0, 0, 0, 0, 1, 0, 0]),
        "slopes": np.linspace(-1, 1, 9, dtype=np.float32),
        "scales": np.array([1, 1, 0.6, 1.7], np.float32),
        "w": random.standard_normal((8, 8)).astype(np.float32),
        "k": random.standard_normal((8, 8, 1, 1)).astype(np.float32),
        "shape": np.array([1, 8, 1, 1]),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    onnx.save(proto, tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    blocks = partition(model, minimum=1, maximum=1)
    chosen = Assignment(choices=tuple((block.name, "fp32") for block in blocks))
    Rewriter(model, blocks, {}, base="fp32").write(chosen, tmp_path / "fp32.onnx")
    feed = {"x": random.standard_normal((1, 8, 9, 9)).astype(np.float32)}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    with create_backend("openvino", {}).build(tmp_path / "fp32.onnx") as engine:
        output = run(engine, feed)["y"]
    np.testing.assert_allclose(output, session.run(None, feed)[0], rtol=1e-3, atol=1e-4)
