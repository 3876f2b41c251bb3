"""A target whose trtexec serves alone: built, timed, run and read back by its options and files."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends import create_backend, run
from autoprec.backends.target import TargetBackend
from autoprec.backends.target.trtexec.exports import read_help, read_outputs, read_times
from autoprec.backends.timing import pair
from autoprec.errors import BackendError, TrialError
from autoprec.exporters import write_export
from autoprec.loading import STARTING
from autoprec.spec import TimingSection
from tiny_export import export_of
from tiny_study import write_model

STANDIN = Path(__file__).parent / "standin_trtexec.py"
VERSIONS = ("8601", "110100", *(pytest.param(old, marks=pytest.mark.slow) for old in ("8502", "100300")))
FEEDS = {"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}


def trtexec(folder: Path, version: str, **options: str | int) -> TargetBackend:
    folder.mkdir(exist_ok=True)
    tool = folder / f"trtexec-{version}"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} {version} "$@"\n')
    tool.chmod(0o755)
    told = {"engine": "tensorrt", "target": "local:", "target_folder": str(folder / "there")}
    return TargetBackend({**told, "target_trtexec": str(tool), **options})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_trtexec_alone_builds_and_computes(tmp_path: Path, version: str) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    with (
        create_backend("openvino", {}).build(model) as here,
        trtexec(tmp_path / "a", version).build(model) as there,
    ):
        np.testing.assert_allclose(run(there, FEEDS)["masks"], run(here, FEEDS)["masks"], atol=1e-4)
        assert {"/a/conv/Conv", "/c/conv/Conv"} <= {name for k in there.kernels() for name in k.nodes}


@pytest.mark.parametrize("version", ["8601", pytest.param("110100", marks=pytest.mark.slow)])
def test_engines_of_a_trtexec_take_turns(tmp_path: Path, version: str) -> None:
    model, backend = write_model(tmp_path / "tiny.onnx"), trtexec(tmp_path / "a", version)
    with backend.build(model) as one, backend.build(model) as other:
        one.prepare(FEEDS)
        other.prepare(FEEDS)
        comparison = pair(
            one, other, backend, TimingSection(interval=0.9, seconds=0.1, minimum_rounds=5, warmup=1)
        )
    assert comparison.rounds >= 5
    assert comparison.ratio == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("banner", "version"),
    [("8601", (8, 6, 1)), ("100300", (10, 3, 0)), ("110100] [b48", (11, 1, 0)), ("11.1.0.106", (11, 1, 0))],
)
def test_a_version_is_read_as_trtexec_writes_it(banner: str, version: tuple[int, int, int]) -> None:
    tool = read_help(
        f"&&&& RUNNING TensorRT.trtexec [TensorRT v{banner}] # trtexec\n  --fp16  Enable\n  --help, -h  Print"
    )
    assert tool.version == version
    assert tool.flags == {"fp16", "help"}


def test_what_trtexec_refuses_is_a_build_failure_in_its_words(tmp_path: Path) -> None:
    pytest.importorskip(
        "tensorrt_rtx", reason="the parser whose words these are: pip install '.[tensorrt-rtx]'"
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1]) for name in "xy"]
    weights = [numpy_helper.from_array(np.ones(1, np.float32), "w")]
    nodes = [helper.make_node("Add", ["x", "w"], ["y"], name="mixed")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(TrialError, match="mixed") as told:
        trtexec(tmp_path / "a", "100300").build(tmp_path / "m.onnx")
    assert told.value.kind == "build"


def test_a_trtexec_that_is_not_there_is_named(tmp_path: Path) -> None:
    told = {
        "engine": "tensorrt",
        "target": "local:",
        "target_folder": str(tmp_path),
        "target_trtexec": "/no/trtexec",
    }
    with pytest.raises(BackendError, match=r"target\.trtexec"):
        TargetBackend(told).fingerprint()


def test_an_option_that_its_version_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="builderOptimizationLevel"):
        trtexec(tmp_path / "a", "8502", optimization_level=5).fingerprint()


def test_what_it_leaves_there_is_removed(tmp_path: Path) -> None:
    backend = trtexec(tmp_path / "a", "8601")
    backend.build(write_model(tmp_path / "tiny.onnx")).close()
    backend.close()
    assert not list((tmp_path / "a" / "there").glob("trtexec-*/"))
    assert backend.clean() > 1000
    assert not (tmp_path / "a" / "there").exists()


def test_it_is_removed_while_another_process_is_being_started(tmp_path: Path) -> None:
    def collect() -> None:
        backend = trtexec(tmp_path / "a", "8601")
        backend.fingerprint()
        circle = [backend]
        circle.append(circle)  # type: ignore[arg-type]
        del backend, circle
        with STARTING:
            gc.collect()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_an_engine_is_written_down_where_it_was_built(tmp_path: Path) -> None:
    backend = trtexec(tmp_path / "a", "8601")
    plan = backend.plan(write_model(tmp_path / "tiny.onnx"))
    assert zipfile.is_zipfile(io.BytesIO(plan))
    name, timings = backend.timings()
    assert name == "TensorRT_8.6.1_Orin_8.7_by_trtexec.cache"
    assert timings.startswith(b"timing")


def test_outputs_may_hold_what_json_does_not() -> None:
    text = '[\n  { "name" : "y"\n  , "dimensions" : "1x3"\n  , "values" : [ 1e-05, nan, -inf ]\n  }\n]\n'
    np.testing.assert_array_equal(read_outputs(text)["y"], [[1e-05, np.nan, -np.inf]])


@pytest.mark.parametrize(
    "values",
    ['"1x9"\n , "values" : [ 1 ]', '"1"\n , "values" : [ x ]', f'"{"1x" * 70}1"\n , "values" : [ 1 ]'],
)
def test_outputs_that_are_no_arrays_are_refused(values: str) -> None:
    with pytest.raises(TrialError, match="no array"):
        read_outputs(f'[ {{ "name" : "y"\n , "dimensions" : {values} }} ]')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '[{"computeMs" : -1}]',
        '[{"computeMs" : "x"}]',
        '[{"computeMs" : 1e999}]',
        "[" * 10_000,
    ],
)
def test_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(TrialError):
        read_times(text)


def first(*texts: str) -> list[Any]:
    """Of lies about one file, the others are slow."""
    return [texts[0], *(pytest.param(text, marks=pytest.mark.slow) for text in texts[1:])]


def lying(folder: Path, file: str, text: str) -> TargetBackend:
    """A trtexec that writes this text in place of the file that one of its options names."""
    backend = trtexec(folder, "8601")
    (tool,) = folder.glob("trtexec-8601")
    real = tool.rename(folder / "real")
    (folder / "lie").write_text(text)
    name = f'*/{file}) cp {folder}/lie "${{word#*=}}" ;;'
    loop = f'for word; do case "$word" in {name} esac; done'
    tool.write_text(f'#!/bin/sh\n{real} "$@"; code=$?\n{loop}\nexit $code\n')
    tool.chmod(0o755)
    return backend


@pytest.mark.parametrize("text", first('[{"computeMs" : 1e400}]', "", "null", "[" * 100_000))
def test_times_that_a_target_makes_up_fail_the_trial(tmp_path: Path, text: str) -> None:
    with lying(tmp_path / "a", "times.json", text).build(write_model(tmp_path / "tiny.onnx")) as engine:
        engine.prepare(FEEDS)
        with pytest.raises(TrialError):
            engine.milliseconds(3)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    first(
        "no outputs",
        '"name" : "masks"\n , "dimensions" : "1x2x32x32"\n , "values" : [ 1 ]',
        '"name" : "masks"\n , "dimensions" : "99999999999x99999999999"\n , "values" : [ 1 ]',
        '"name" : "others"\n , "dimensions" : "1"\n , "values" : [ 1 ]',
    ),
)
def test_outputs_that_a_target_makes_up_fail_the_trial(tmp_path: Path, text: str) -> None:
    engine = lying(tmp_path / "a", "outputs.json", text).build(write_model(tmp_path / "tiny.onnx"))
    with engine, pytest.raises(TrialError):
        run(engine, FEEDS)


@pytest.mark.parametrize("text", first('{"Layers": [7, []]}', "", "[" * 100_000))
def test_layers_that_a_target_makes_up_say_nothing(tmp_path: Path, text: str) -> None:
    with lying(tmp_path / "a", "layers.json", text).build(write_model(tmp_path / "tiny.onnx")) as engine:
        assert not engine.kernels()


@pytest.mark.parametrize("text", first('{"Layers": [{"Inputs": 7}]}', '{"Layers": 7}'))
def test_layers_that_are_none_fail_the_trial(tmp_path: Path, text: str) -> None:
    engine = lying(tmp_path / "a", "layers.json", text).build(write_model(tmp_path / "tiny.onnx"))
    with engine, pytest.raises(TrialError, match="does not describe its engine"):
        engine.kernels()


def on_the_path(folder: Path, version: str) -> str:
    """A PATH with the stand-in of that version on it."""
    folder.mkdir()
    tool = folder / "trtexec"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} {version} "$@"\n')
    tool.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_the_engine_of_a_target_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = export_of(tmp_path / "study")
    target = trtexec(tmp_path / "a", "8601")
    told = target.told(Path(export.model_path), tmp_path / "told.onnx")
    write_export(msgspec.structs.replace(export, told=told), tmp_path / "out", ["tensorrt8"])
    monkeypatch.setenv("PATH", on_the_path(tmp_path / "bin", "8601"))
    subprocess.run([tmp_path / "out" / "tensorrt8_trtexec.sh"], check=True, capture_output=True)
    built = zipfile.ZipFile(tmp_path / "out" / "tensorrt8.engine")
    searched = zipfile.ZipFile(io.BytesIO(target.plan(Path(export.model_path))))
    assert built.read("layers") == searched.read("layers")
    assert built.read("model") == searched.read("model")


def test_a_target_that_keeps_to_types_needs_no_words(tmp_path: Path) -> None:
    export = export_of(tmp_path / "study")
    assert trtexec(tmp_path / "a", "100300").told(Path(export.model_path), tmp_path / "told.onnx") is None
    write_export(export, tmp_path / "out")
    assert not list((tmp_path / "out").glob("tensorrt8*"))
