"""Full TensorRT refuses at every step of an engine: behind the mask, over an engine and a CUDA of air."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autoprec.backends import run
from autoprec.backends.tensorrt import cuda
from autoprec.backends.tensorrt.build import BuiltPlan
from autoprec.backends.tensorrt.cuda import CudaDevice
from autoprec.backends.tensorrt.engine import TensorRTEngine
from autoprec.backends.tensorrt.options import Options
from autoprec.errors import BackendError, TrialError
from tensorrt_here import MASK, library, mask

pytestmark = pytest.mark.skipif(not MASK, reason="full TensorRT's refusals are arranged behind its mask")
INSPECTED = (
    '{"Layers": [{"Name": "op", "LayerType": "CaskConvolution", "Weights": {"Type": "Int8"}, "Metadata": '
)
INSPECTED += '"[ONNX Layer: op]"}], "Bindings": ["x", "y"]}'
DEVICE = CudaDevice(name="air", compute_capability=(8, 9), bus_id="", l2_bytes=0, driver="13.0")
NEEDED = (
    "Runtime.deserialize_cuda_engine", "ICudaEngine.create_execution_context", "ICudaEngine.num_io_tensors",
    "ICudaEngine.get_tensor_name", "ICudaEngine.get_tensor_mode", "ICudaEngine.get_tensor_dtype",
    "ICudaEngine.get_tensor_shape", "IExecutionContext.set_input_shape", "IExecutionContext.get_tensor_shape",
    "IExecutionContext.set_tensor_address", "IExecutionContext.execute_async_v3",
)  # fmt: skip
FREE = (
    "ICudaEngine.create_engine_inspector", "EngineInspector.get_engine_information",
    "IExecutionContext.report_to_profiler",
)  # fmt: skip


class Air:
    """A CUDA runtime that does nothing, and says that all went well."""

    cudaError_t = Enum("cudaError_t", {"cudaSuccess": 0})  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __getattr__(self, name: str) -> Any:
        empty = name.endswith(("Synchronize", "Destroy", "Free", "Async", "Record", "Launch", "BeginCapture"))
        return lambda *_: (self.cudaError_t.cudaSuccess, *(() if empty else (64,)))


def hollow() -> Any:
    """An engine from `x` to `y`, behind the mask's own class, that computes nothing."""
    trt, shell = library().trt, SimpleNamespace()
    context = SimpleNamespace(enqueue_emits_profile=True, profiler=None)

    def report() -> bool:
        context.profiler.report_layer_time("op", 0.25)
        return True

    context.set_input_shape = lambda name, shape: True
    context.get_tensor_shape = lambda name: (1, 4)
    context.set_tensor_address = lambda name, memory: True
    context.execute_async_v3 = lambda stream: True
    context.report_to_profiler = report
    shell.num_io_tensors, shell.device_memory_size_v2 = 2, 1 << 20
    shell.get_tensor_name = lambda index: "xy"[index]
    shell.get_tensor_mode = lambda name: getattr(trt.TensorIOMode, "INPUT" if name == "x" else "OUTPUT")
    shell.get_tensor_location = lambda name: trt.TensorLocation.DEVICE
    shell.get_tensor_dtype = lambda name: trt.DataType.FLOAT
    shell.get_tensor_shape = lambda name: (1, 4)
    shell.get_engine_stat = lambda stat: 1 << 20
    shell.create_execution_context = lambda: trt.IExecutionContext(context, _is_native=True)
    inspector = SimpleNamespace(get_engine_information=lambda form: INSPECTED)
    shell.create_engine_inspector = lambda: trt.EngineInspector(inspector, _is_native=True)
    return trt.ICudaEngine(shell, _is_native=True)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    air = Air()
    monkeypatch.setattr(cuda, "runtime", lambda: air)
    faults_by_name: dict[str, Any] = mask().FAULTS
    faults_by_name["Runtime.deserialize_cuda_engine"] = hollow()
    yield faults_by_name
    faults_by_name.clear()


def loaded(*, profiled: bool = False) -> TensorRTEngine:
    return TensorRTEngine(library(), Options(), BuiltPlan(data=b"plan", layers=()), DEVICE, profiled=profiled)


def test_an_engine_runs_is_profiled_and_told_by_the_inspector(faults: dict[str, Any]) -> None:
    with loaded(profiled=True) as engine:
        assert run(engine, {"x": np.zeros((1, 4), np.float32)})["y"].shape == (1, 4)
        (kernel,) = engine.kernels()
    assert (kernel.nodes, kernel.precision, kernel.time_ms) == (("op",), "i8", 0.25)


@pytest.mark.parametrize(
    "fault", [None, RuntimeError("refused"), TypeError("refused"), ValueError("len < 0")]
)
@pytest.mark.parametrize("step", NEEDED)
def test_no_step_of_an_engine_crashes(faults: dict[str, Any], step: str, fault: Any) -> None:
    if (step, fault) == ("ICudaEngine.get_tensor_mode", None):
        return  # always a member of its enum
    faults[step] = fault
    with pytest.raises((TrialError, BackendError)) as caught, loaded() as engine:
        run(engine, {"x": np.zeros((1, 4), np.float32)})
    assert isinstance(caught.value, TrialError)
    assert caught.value.kind == "run"


def test_an_engine_whose_weights_are_not_told_takes_its_plan_for_them(faults: dict[str, Any]) -> None:
    faults["ICudaEngine.get_engine_stat"] = TypeError("cannot create weak reference to 'int' object")
    with loaded() as engine:
        assert engine.device_memory_bytes == (1 << 20) + len(b"plan")


@pytest.mark.parametrize("step", ["set_input_shape", "set_tensor_address", "execute_async_v3"])
def test_a_step_that_answers_no_is_a_failed_run(faults: dict[str, Any], step: str) -> None:
    faults[f"IExecutionContext.{step}"] = False
    with pytest.raises(TrialError), loaded() as engine:
        run(engine, {"x": np.zeros((1, 4), np.float32)})


@pytest.mark.parametrize("fault", [None, "", "no JSON"])
@pytest.mark.parametrize("step", FREE)
def test_an_engine_that_is_not_described_leaves_open_what_it_ran_in(
    faults: dict[str, Any], step: str, fault: Any
) -> None:
    faults[step] = fault
    with loaded(profiled=True) as engine:
        run(engine, {"x": np.zeros((1, 4), np.float32)})
        assert {kernel.time_ms for kernel in engine.kernels()} <= {0.0}


def test_a_runtime_that_does_not_start_is_told_with_the_reason(faults: dict[str, Any]) -> None:
    faults["Runtime.__init__"] = "CUDA initialization failure with error: 100"
    with pytest.raises(BackendError, match="nvidia-smi"):
        loaded()


def test_a_profiled_engine_records_no_graph(faults: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded(profiled=True) as engine:
        monkeypatch.setattr(engine.stream, "capture", lambda work: pytest.fail("a graph reports nothing"))
        for _ in range(3):
            run(engine, {"x": np.zeros((1, 4), np.float32)})


def test_an_engine_that_no_graph_can_hold_runs_without(
    faults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(work: Any) -> None:
        raise TrialError("run", "operation not permitted when stream is capturing")

    with loaded() as engine:
        monkeypatch.setattr(engine.stream, "capture", refused)
        for _ in range(3):
            run(engine, {"x": np.zeros((1, 4), np.float32)})
