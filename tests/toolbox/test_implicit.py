"""The export for builders with implicit quantisation says the same as the typed model, and what it cannot."""

from __future__ import annotations

import re
import shlex
import struct
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from autoprec import Study
from autoprec.exporters.implicit import CACHE, HEADER, MODEL, SCRIPT, cache
from autoprec.graph.rewrite.implicit import implicit
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment, Block, Implicit
from tiny_study import write_study


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All-INT8 of a study, smoothed."""
    folder, precision = tmp_path_factory.mktemp("exported"), "int8+smooth"
    path = write_study(folder)
    names = f'["fp32", "fp16", "{precision}"]'
    path.write_text(path.read_text().replace("[search]", f"[search]\nprecisions = {names}"))
    study = Study.load(path)
    study.search("3")
    trial = next(trial for trial in study.trials() if trial.label == f"all-{precision}")
    study.export(folder / "out", trial=trial.number)
    return folder / "out"


def scales_of(text: str) -> dict[str, float]:
    lines = text.splitlines()
    assert lines[0] == HEADER
    pairs = (line.rsplit(": ", 1) for line in lines[1:])
    return {name: struct.unpack(">f", bytes.fromhex(value))[0] for name, value in pairs}


def test_a_known_scale_is_written_as_tensorrt_does() -> None:
    export = Implicit(model_path="", scales=(("images", 1 / 127), ("bad\nname", 1.0)), layers=(), limits=())
    assert cache(export) == f"{HEADER}\nimages: 3c010204\n"


def test_the_cache_holds_the_scales_of_the_typed_model(exported: Path) -> None:
    out = exported
    scales = scales_of((out / CACHE).read_text())
    typed = onnx.load(out / "model.onnx").graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in typed.initializer}
    pairs = {}
    for node in typed.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = held[node.input[1]], held[node.input[2]]
            pairs[node.input[0]] = float(scale) * (np.iinfo(zero.dtype).max - int(zero)) / 127
    assert pairs
    assert {name: scales[name] for name in pairs} == pytest.approx(pairs)
    # Of what the layers make too: without it TensorRT 8 falls back to floats.
    assert {"a.conv", "b.conv", "masks"} <= scales.keys()


def test_the_flags_name_layers_and_tensors_of_the_model_beside_them(exported: Path) -> None:
    out = exported
    model = onnx.load(out / MODEL)
    onnx.checker.check_model(model, full_check=True)
    words = shlex.split(re.sub(r"\\\n", " ", (out / SCRIPT).read_text().split("trtexec \\", 1)[1]))
    (flag,) = (word for word in words if word.startswith("--layerPrecisions="))
    layers = dict(part.rsplit(":", 1) for part in flag.partition("=")[2].split(","))
    assert layers.keys() == {node.name for node in model.graph.node}
    assert {layers[f"/{block}/conv/Conv"] for block in "abc"} == {"int8"}
    assert {"--int8", "--fp16", "--precisionConstraints=obey", f"--calib={CACHE}"} <= set(words)
    values = {value for node in model.graph.node for value in (*node.input, *node.output)}
    assert scales_of((out / CACHE).read_text()).keys() <= values
    assert not {node.op_type for node in model.graph.node} & {"QuantizeLinear", "Cast"}


def test_the_limits_stand_in_the_script_and_the_shell_reads_it(exported: Path) -> None:
    out = exported
    text = (out / SCRIPT).read_text()
    assert "measured on the typed model" in text
    assert "One tensor has one range" in text
    assert subprocess.run(["sh", "-n", out / SCRIPT], check=False).returncode == 0


def test_a_layer_whose_result_is_always_zero_gets_no_scale_of_nothing() -> None:
    text = """<ir_version: 10, opset_import: ["": 22]> g (float[2,2] x) => (float[2,2] y)
    <float[2,2] w = {1, 2, 3, 4}> { [one] h = MatMul (x, w)  [two] y = MatMul (h, w) }"""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    blocks, chosen = (Block(name="all", nodes=("one", "two")),), Assignment(choices=(("all", "int8"),))
    typed = Rewriter(model, blocks, {"x": 1.27, "h": 2.54}, base="fp32").rewrite(chosen)
    home, largest = dict.fromkeys(("one", "two"), "all"), {"x": 1.27, "h": 2.54, "y": 0.0}
    told = implicit(model, typed, home, chosen, largest, "")
    assert dict(told.scales) == pytest.approx({"x": 0.01, "h": 0.02})
    assert dict(told.layers) == {"one": "int8", "two": "int8"}
