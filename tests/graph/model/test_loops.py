"""Loops of a known number of rounds are written out, and compute what the file does; others are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from autoprec.errors import ModelError
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model

TEXT = """<ir_version: 8, opset_import: ["" : OPSET]> g (float[1,4,8,8] x) => (float y) {
    c = Conv (x, w)
    MIDDLE
}"""
ROUND = """<body = r (int64 i, bool go, float[] h) => (bool on, float[] t, float[] p) {
    on = Identity (go)  f = Cast <to = 1> (i)  s = Add (h, f)  n = Conv (s, w)  t = Tanh (n)
    p = Mul (t, c) }>"""
KNOWN = {
    "rounds": f"h, p = Loop (three, yes, c) {ROUND}  q = ReduceSum <keepdims = 0> (p, first)  y = Add (h, q)",
    "no rounds": (
        "y = Loop (zero, yes, c) <body = r (int64 i, bool go, float[] h) => (bool on, float[] t)"
        " { on = Identity (go)  t = Neg (h) }>"
    ),
    "a condition that is always true": (
        "y = Loop (three, , c) <body = r (int64 i, bool go, float[] h) => (bool on, float[] t)"
        " { on = Constant <value = bool {1}> ()  t = Sigmoid (h) }>"
    ),
    "as often as the input is wide": (
        "s = Shape (c)  k = Gather (s, three)  y = Loop (k, yes, c)"
        " <body = r (int64 i, bool go, float[] h) => (bool on, float[] t)"
        " { on = Identity (go)  t = Conv (h, w) }>"
    ),
    "a loop in a loop": (
        "y = Loop (three, yes, c) <body = r (int64 i, bool go, float[] h) => (bool on, float[] t)"
        " { on = Identity (go)  t = Loop (three, go, h)"
        " <body = q (int64 j, bool run, float[] k) => (bool still, float[] u)"
        " { still = Identity (run)  v = Add (k, c)  u = Tanh (v) }> }>"
    ),
    "values that are passed on": (
        "y, z = Loop (three, yes, c, x) <body = r (int64 i, bool go, float[] a, float[] b)"
        " => (bool on, float[] b, float[] t) { on = Identity (go)  t = Sub (a, b) }>"
    ),
    "a scan both ways": (
        "h, y = Scan (x, c, c) <num_scan_inputs = 2, scan_input_axes = [2, 3],"
        " scan_input_directions = [0, 1], scan_output_axes = [3], scan_output_directions = [1],"
        " body = r (float[1,4,8,8] h, float[1,4,8] a, float[1,4,8] b) => (float[1,4,8,8] t, float[1,4,8] p)"
        " { p = Sub (a, b)  m = Tanh (h)  t = Add (m, c) }>"
    ),
}  # fmt: skip
UNKNOWN = {
    "a condition that a round computes": (
        "y = Loop (three, yes, c) <body = r (int64 i, bool go, float[] h) => (bool on, float[] t)"
        " { t = Neg (h)  m = ReduceMax <keepdims = 0> (t)  on = Cast <to = 9> (m) }>"
    ),
    "rounds without end": (
        "y = Loop (, yes, c) <body = r (int64 i, bool go, float[] h) => (bool on, float[] t)"
        " { on = Identity (go)  t = Neg (h) }>"
    ),
    "a million rounds": (
        "y = Loop (million, yes, c) <body = r (int64 i, bool go, float[] h) => (bool on, float[] t)"
        " { on = Identity (go)  t = Neg (h) }>"
    ),
}


def saved(folder: Path, middle: str, opset: int = 18) -> Path:
    proto = onnx.parser.parse_model(TEXT.replace("OPSET", str(opset)).replace("MIDDLE", middle))
    arrays = {
        "w": np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32) / 2,
        "zero": np.array(0), "three": np.array(3), "million": np.array(10**6), "yes": np.array(True),
        "first": np.array([0]),
    }  # fmt: skip
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize("opset", [11, 18, 21])
@pytest.mark.parametrize("middle", KNOWN)
def test_a_known_number_of_rounds_is_written_out(middle: str, opset: int, tmp_path: Path) -> None:
    text = KNOWN[middle]
    if opset < 13:
        text = text.replace("ReduceSum <keepdims = 0> (p, first)", "ReduceSum <axes = [0], keepdims = 0> (p)")
    path = saved(tmp_path, text, opset)
    model = load_model(path)
    assert not {node.op_type for node in model.graph} & {"Loop", "Scan"}
    write_model(model, tmp_path / "loaded.onnx")
    feed = {"x": np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)}
    wanted, output = (
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for file in (path, tmp_path / "loaded.onnx")
    )
    np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-5)


def test_sizes_that_a_round_computes_are_known_ahead(tmp_path: Path) -> None:
    middle = (
        "y = Loop (three, yes, c) <body = r (int64 i, bool go, float[] h) => (bool on, float[] t)"
        " { on = Identity (go)  s = Shape (h)  f = Flatten (h)  t = Reshape (f, s) }>"
    )
    model = load_model(saved(tmp_path, middle))
    assert [node.op_type for node in model.graph] == ["Conv", *["Flatten", "Reshape"] * 3]


@pytest.mark.parametrize("middle", UNKNOWN)
def test_rounds_that_only_the_run_counts_are_named(middle: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"node 'y' is control flow \(Loop\)") as caught:
        load_model(saved(tmp_path, UNKNOWN[middle]))
    assert "\n" not in str(caught.value)
