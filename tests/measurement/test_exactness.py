"""A candidate's engine against the exact arithmetic of its file: quantising is no fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from autoprec.backends import exact
from autoprec.backends.exact import WRONG, Exact
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.measurement.fidelity.exactness import Running, exactness
from autoprec.measurement.fidelity.nudges import write_nudged
from autoprec.records import Exactness
from autoprec.samples import Sample

WEIGHTS = {"w": (8, 3, 3, 3), "v": (2, 8, 3, 3)}
PAIRED = """
    s = Constant <value_float = 0.05> () z = Constant <value = uint8 {128}> ()
    p = QuantizeLinear(image, s, z) i = DequantizeLinear(p, s, z)
    a = Conv <pads = [1,1,1,1]> (i, w) q = QuantizeLinear(a, s, z) b = DequantizeLinear(q, s, z)"""
ODD = """size = Constant <value_ints = [7, 7]> ()
    c = Resize <mode = "linear", antialias = 1, axes = [2, 3]> (b, , , size)"""
"""OpenVINO 2026.4.1 computes another function here."""


def judged(path: Path, body: str, running: Running = nullcontext) -> Exactness:
    graph = f"g (float[1,3,16,16] image) => (float[1,C,H,W] masks) {{{body}}}"
    imports = '"" : 21, "org.openvinotoolkit" : 1'
    model = parser.parse_model(f"<ir_version: 10, opset_import: [{imports}]> {graph}")
    for name, shape in WEIGHTS.items():
        array = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, path)
    image = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    backend = OpenVinoBackend({})
    with backend.build(path) as engine:
        return exactness(backend, path, engine, [Sample("0", {"image": image}, {})], running)


def test_an_engine_that_computes_its_file_is_not_wrong(tmp_path: Path) -> None:
    judgement = judged(tmp_path / "m.onnx", f"{PAIRED} masks = Conv <pads = [1,1,1,1]> (b, v)")
    assert (judgement.is_wrong, judgement.missing, judgement.node, judgement.samples) == (False, "", "", 1)


def test_an_engine_that_computes_something_else_is_wrong_from_a_node_on(tmp_path: Path) -> None:
    judgement = judged(tmp_path / "m.onnx", f"{PAIRED} {ODD} masks = Conv <pads = [1,1,1,1]> (c, v)")
    assert judgement.is_wrong
    assert "(Resize)" in judgement.node


def test_a_model_that_amplifies_last_places_is_not_wrong(tmp_path: Path) -> None:
    body = """s = Constant <value_float = 0.0625> () z = Constant <value = int8 {0}> ()
    p = QuantizeLinear(image, s, z) i = DequantizeLinear(p, s, z) c = Conv <pads = [1,1,1,1]> (i, w)
    q = QuantizeLinear(c, s, z) masks = DequantizeLinear(q, s, z)"""
    graph = f"g (float[1,8,16,16] image) => (float[1,8,16,16] masks) {{{body}}}"
    random = np.random.default_rng(0)
    weights = random.choice([-0.5, 0.0, 0.5], (8, 8, 3, 3)).astype(np.float32)  # sums lie between two levels
    for name, off in ("m", 0.0), ("other", 2e-7):
        model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}')
        array = weights * np.float32(1 + off * random.standard_normal(weights.shape))
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), "w"))
        onnx.save(model, tmp_path / f"{name}.onnx")
    sample = Sample("0", {"image": 0.0625 * random.integers(-2, 3, (1, 8, 16, 16)).astype(np.float32)}, {})
    with Exact().build(tmp_path / "other.onnx") as engine:
        judgement = exactness(Exact(), tmp_path / "m.onnx", engine, [sample])
    assert judgement.error > WRONG
    assert not judgement.is_wrong


def test_what_nothing_else_runs_is_told_and_not_judged(tmp_path: Path) -> None:
    judgement = judged(tmp_path / "m.onnx", f"{PAIRED} masks = org.openvinotoolkit.Swish(b)")
    assert "Swish" in judgement.missing
    assert not judgement.is_wrong


def test_the_device_is_let_go_while_the_exact_arithmetic_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, seen = [False], list[bool]()

    @contextmanager
    def running() -> Iterator[None]:
        held[0] = True
        yield
        held[0] = False

    real = exact.ExactEngine.execute

    def execute(engine: exact.ExactEngine) -> None:
        seen.append(held[0])
        real(engine)

    monkeypatch.setattr(exact.ExactEngine, "execute", execute)
    judged(tmp_path / "m.onnx", f"{PAIRED} masks = Conv <pads = [1,1,1,1]> (b, v)", running)
    assert seen == [False]


def test_nudged_weights_leave_sizes_as_they_are(tmp_path: Path) -> None:
    body = 'r = Conv <pads = [1,1,1,1]> (image, w) masks = Resize <mode = "nearest"> (r, , scales)'
    graph = f"g (float[1,3,5,5] image) => (float[1,8,10,10] masks) {{{body}}}"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}')
    weights = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)
    scales = np.array([1, 1, 2, 2], np.float32)
    for name, array in {"w": weights, "scales": scales}.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "m.onnx")
    write_nudged(tmp_path / "m.onnx", tmp_path / "n.onnx")
    nudged = {i.name: numpy_helper.to_array(i) for i in onnx.load(tmp_path / "n.onnx").graph.initializer}
    np.testing.assert_array_equal(nudged["scales"], scales)
    assert (nudged["w"] != weights).any()
