"""Full TensorRT refuses at every step of a build; runs under a mask of it alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from autoprec.errors import BackendError, TrialError
from autoprec.exporters._script import SCRIPTS
from patterns import saved
from tensorrt_here import MASK, library, mask, tensorrt_backend

pytestmark = pytest.mark.skipif(not MASK, reason="full TensorRT's refusals are arranged behind its mask")
STEPS = (
    "Builder.create_network", "Builder.create_builder_config", "Builder.build_serialized_network",
    "OnnxParser.parse_from_file", "INetworkDefinition.get_input", "INetworkDefinition.num_inputs",
    "ITensor.shape", "IBuilderConfig.set_flag",
)  # fmt: skip
TIMING_STEPS = (
    "IBuilderConfig.create_timing_cache", "IBuilderConfig.set_timing_cache",
    "IBuilderConfig.get_timing_cache",
    "ITimingCache.serialize", "ITimingCache.combine",
)  # fmt: skip


@pytest.fixture
def faults() -> Iterator[dict[str, Any]]:
    faults_by_name: dict[str, Any] = mask().FAULTS
    yield faults_by_name
    faults_by_name.clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path, "gemm", "fp16")


def test_a_version_has_what_its_dump_has_and_the_adapter_takes_its_path() -> None:
    loaded = library()
    assert hasattr(loaded.trt.ICudaEngine, "create_runtime_config")
    assert (loaded.is_rtx, loaded.caches_kernels, loaded.names_targets, loaded.lists_layers) == (False,) * 4


@pytest.mark.parametrize("code", ["35", "100"])
def test_a_builder_that_does_not_start_is_told_with_the_reason_and_the_remedy(
    path: Path, faults: dict[str, Any], code: str
) -> None:
    faults["Builder.__init__"] = f"CUDA initialization failure with error: {code}"
    with pytest.raises(BackendError, match=rf"error: {code}.*(driver|nvidia-smi)"):
        tensorrt_backend().build_plan(path)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("CUDA initialization failure with error: 999", "restart the machine"),
        (
            "Unable to load library: libnvinfer_builder_resource.so.11: cannot open shared object file",
            "reinstall",
        ),
    ],
)
def test_what_else_keeps_a_builder_from_starting_is_told_with_what_to_do(
    path: Path, faults: dict[str, Any], reason: str, remedy: str
) -> None:
    faults["Builder.__init__"] = reason
    with pytest.raises(BackendError, match=remedy):
        tensorrt_backend().build_plan(path)


def test_a_builder_without_memory_is_a_failed_trial(path: Path, faults: dict[str, Any]) -> None:
    faults["Builder.__init__"] = "Requested amount of GPU memory could not be allocated: out of memory"
    with pytest.raises(TrialError) as caught:
        tensorrt_backend().build_plan(path)
    assert caught.value.kind == "memory"


def test_a_parser_that_runs_out_of_memory_says_so(
    path: Path, faults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults["OnnxParser.parse_from_file"] = False
    log = library().log
    forget = log.forget

    def forget_then_hear() -> None:
        forget()
        log.errors.append("Error Code 2: OutOfMemory")

    monkeypatch.setattr(log, "forget", forget_then_hear)
    with pytest.raises(TrialError, match="OutOfMemory") as caught:
        tensorrt_backend().build_plan(path)
    assert caught.value.kind == "memory"


def test_a_parser_that_does_not_start_is_a_failed_build_with_the_reason(
    path: Path, faults: dict[str, Any]
) -> None:
    faults["OnnxParser.__init__"] = "the plugin library is of another version"
    with pytest.raises(TrialError, match="of another version") as caught:
        tensorrt_backend().build_plan(path)
    assert caught.value.kind == "build"


@pytest.mark.parametrize("fault", [None, RuntimeError("refused"), TypeError("refused"), MemoryError()])
@pytest.mark.parametrize("step", STEPS)
def test_no_step_of_a_build_crashes(path: Path, faults: dict[str, Any], step: str, fault: Any) -> None:
    faults[step] = fault
    if (step, fault) == ("IBuilderConfig.set_flag", None):
        return  # gives nothing anyway
    with pytest.raises(TrialError) as caught:
        tensorrt_backend().build_plan(path)
    assert caught.value.kind == ("memory" if isinstance(fault, MemoryError) else "build")
    assert str(caught.value)


@pytest.mark.parametrize("fault", [None, False, RuntimeError("refused"), TypeError("refused")])
@pytest.mark.parametrize("step", TIMING_STEPS)
def test_a_timing_cache_that_cannot_be_had_costs_no_build(
    path: Path, faults: dict[str, Any], step: str, fault: Any
) -> None:
    faults[step] = fault
    assert tensorrt_backend().build_plan(path).data


def test_a_damaged_timing_cache_is_not_the_cause_of_a_later_failure(path: Path, tmp_path: Path) -> None:
    backend = tensorrt_backend(cache_folder=str(tmp_path / "caches"))
    backend.build_plan(path)
    (file,) = (tmp_path / "caches").iterdir()
    file.write_bytes(b"not a cache")
    assert backend.build_plan(path).data
    assert file.read_bytes() != b"not a cache"
    file.write_bytes(b"not a cache")
    path = saved(tmp_path, "conv_transpose", "bf16", "bf16")
    with pytest.raises(TrialError, match="Could not infer output types"):
        backend.build_plan(path)


@pytest.mark.parametrize("step", ["", "IOptimizationProfile.set_shape"])
def test_a_shape_that_a_profile_refuses_is_a_failed_build(
    tmp_path: Path, faults: dict[str, Any], step: str
) -> None:
    faults[step] = RuntimeError("Shape provided for min is inconsistent with other dimensions")
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[n,8] x) => (float[n,8] y) { y = Relu(x) }'
    )
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(TrialError, match=r"backend\.options\.shapes"):
        tensorrt_backend(shapes="x=1x8:9x8:4x8").build_plan(tmp_path / "m.onnx")


def test_a_library_that_chooses_types_by_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library().trt.NetworkDefinitionCreationFlag, "__members__", {})
    monkeypatch.setattr(library().trt.BuilderFlag, "__members__", {"FP16": 0})
    with pytest.raises(BackendError, match="chooses types by itself"):
        tensorrt_backend()


def test_gpus_to_build_for_are_refused() -> None:
    with pytest.raises(BackendError, match="builds for the GPU that it runs on"):
        tensorrt_backend(compute_capabilities="8.9")


@pytest.fixture
def exported(path: Path) -> Path:
    """`build_polygraphy.py` beside a model."""
    pytest.importorskip("polygraphy")
    (path.parent / "model.onnx").write_bytes(path.read_bytes())
    (path.parent / "manifest.json").write_text('{"input_shapes": []}')
    return Path(shutil.copy(SCRIPTS / "build_polygraphy.py", path.parent))


def started(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_the_exported_script_for_polygraphy_builds_an_engine(exported: Path) -> None:
    done = started(exported, "--optimization-level", "0")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (exported.parent / "model.engine").stat().st_size


def test_the_exported_script_for_polygraphy_ends_in_one_line_where_no_builder_starts(
    exported: Path, tmp_path: Path
) -> None:
    fault = (
        "import masking; masking.FAULTS['Builder.__init__'] = 'CUDA initialization failure with error: 35'"
    )
    (tmp_path / "sitecustomize.py").write_text(fault)
    done = started(exported, PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    assert done.returncode == 2
    assert "nothing is built" in done.stderr.splitlines()[-1]


def test_the_exported_script_for_polygraphy_takes_a_folder_for_no_package(
    exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt").mkdir()
    done = started(exported, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "tensorrt: is not there: pip install tensorrt" in done.stderr


def test_kernel_timings_are_given_away_as_the_library_wrote_them(path: Path, tmp_path: Path) -> None:
    backend = tensorrt_backend(cache_folder=str(tmp_path / "caches"))
    assert backend.timings()[1] == b""
    backend.build_plan(path)
    name, data = backend.timings()
    assert name.startswith(f"TensorRT-{MASK}-")
    config = library().trt.Builder(library().log.sink).create_builder_config()
    assert config.create_timing_cache(data) is not None
    assert len(data) < (tmp_path / "caches" / name).stat().st_size  # what autoprec keeps is sealed
