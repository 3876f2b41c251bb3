"""Drives the adapter over TensorRT's own bindings and a stub library that first works, then refuses each
step.

python drive.py FOLDER, the one with the library; prints what is wrong, one thing a line.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorrt as trt
from gpu import Air
from hollow import Hollow
from learning import learn

from autoprec.backends import run
from autoprec.backends.tensorrt import TensorRTBackend, cuda
from autoprec.errors import AutoprecError, TrialError

MODEL = '<ir_version: 10, opset_import: ["": 21]> g (float[1,4] x) => (float[1,4] y) { [op] y = Relu(x) }'
LAYERS = """{"Layers": [{"Name": "op", "LayerType": "CaskConvolution", "Weights": {"Type": "Int8"}, "Inputs":
[{"Name": "x", "Format/Datatype": "Row major Int8 format"}], "Metadata": "[ONNX Layer: op]"}]}"""
REASON = "the very reason"
NEEDED = (
    "Builder.__init__", "OnnxParser.__init__", "Runtime.__init__", "Builder.create_network",
    "Builder.create_builder_config", "Builder.build_serialized_network", "OnnxParser.parse_from_file",
    "INetworkDefinition.get_input", "Runtime.deserialize_cuda_engine", "ICudaEngine.create_execution_context",
    "ICudaEngine.get_tensor_name", "IExecutionContext.set_input_shape",
    "IExecutionContext.set_tensor_address", "IExecutionContext.execute_async_v3",
)  # fmt: skip
"""The steps without which nothing can be measured. If any other fails, the measurement lacks some details."""


def answer(hollow: Hollow) -> None:
    """Make the library answer as an engine from `x` to `y` that computes nothing."""
    profilers: list[int] = []

    def context(*_: Any) -> str:
        profilers.clear()
        return "IExecutionContext"

    def attach(profiler: int, *_: Any) -> int:
        profilers.append(profiler)
        return 1

    def report(*_: Any) -> int:
        for profiler in profilers:
            hollow.report(profiler, "op", 0.25)
        return len(profilers)

    def name_of(index: int | None, *_: Any) -> str:
        return "xy"[index or 0]

    def mode_of(name: int, *_: Any) -> int:
        return int(trt.TensorIOMode.INPUT if hollow.text(name) == "x" else trt.TensorIOMode.OUTPUT)

    works = ("OnnxParser.parse_from_file", "IBuilderConfig.set_timing_cache", "ITimingCache.combine",
             *(name for name in NEEDED if name.startswith("IExecutionContext.")))  # fmt: skip
    hollow.does.update(dict.fromkeys(works, 1) | {
        "INetworkDefinition.num_inputs": 1, "ITensor.name": "x", "ITensor.shape": (1, 4),
        "IHostMemory.data": b"plan", "IHostMemory.nbytes": 4, "IHostMemory.dtype": int(trt.DataType.INT8),
        "ICudaEngine.num_io_tensors": 2, "ICudaEngine.get_tensor_name": name_of,
        "ICudaEngine.get_tensor_mode": mode_of, "ICudaEngine.get_tensor_shape": (1, 4),
        "ICudaEngine.get_tensor_dtype": int(trt.DataType.FLOAT),
        "ICudaEngine.get_tensor_location": int(trt.TensorLocation.DEVICE),
        "ICudaEngine.device_memory_size_v2": 1 << 20, "ICudaEngine.get_engine_stat": 1 << 20,
        "EngineInspector.get_engine_information": LAYERS,
        "IExecutionContext.get_tensor_shape": (1, 4),
        "ICudaEngine.create_execution_context": context, "IExecutionContext.profiler=": attach,
        "IExecutionContext.report_to_profiler": report,
    })  # fmt: skip


def measured(folder: Path, *, profiled: bool) -> tuple[Any, ...]:
    """Build, load and run a candidate, and inspect its layers; returns the output shapes and the kernel."""
    backend = TensorRTBackend({"library": "tensorrt", "cache_folder": str(folder)})
    with backend.build(folder / "model.onnx", profiled=profiled) as engine:
        # Repeated until the engine runs as a CUDA graph.
        for _ in range(3):
            outputs = run(engine, {"x": np.zeros((1, 4), np.float32)})
        (kernel,) = engine.kernels() or (None,)
        shapes = [output.shape for output in outputs.values()]
        return shapes, kernel and (kernel.nodes, kernel.precision, kernel.time_ms)


def amiss(hollow: Hollow, folder: Path) -> Iterator[str]:
    """Yield what goes wrong with a library that works, then with one that refuses each step in turn."""
    for profiled, ms in ((False, 0.0), (True, 0.25)):
        readings = measured(folder, profiled=profiled)
        if readings != ([(1, 4)], (("op",), "i8", ms)):
            yield f"an engine of the layer `op` in INT8 is told as {readings}"
    works = dict(hollow.does)
    for step in dict.fromkeys((*NEEDED, *hollow.called)):
        if not step.startswith("IHostMemory"):  # its accessors cannot fail
            hollow.does, hollow.logged = works | {step: 0}, {step: REASON}
            yield from (f"{step} refuses, and {what}" for what in amiss_with(step, folder))


def amiss_with(step: str, folder: Path) -> Iterator[str]:
    """Yield what goes wrong while `step` refuses."""
    try:
        measured(folder, profiled="rofile" in step or "nspector" in step)
    except AutoprecError as error:
        if "\n" in str(error) or (step in NEEDED and REASON not in str(error)):
            yield f"that is told as: {error}"
        elif isinstance(error, TrialError) and error.kind not in ("build", "run"):
            yield f"that is told as {error.kind}"
    except Exception as error:  # noqa: BLE001 - such an exception is the fault looked for
        yield f"the adapter ends with {error!r}"
    else:
        if step in NEEDED:
            yield "the adapter goes on"


def main() -> int:
    """Teach the library, let it answer, drive the adapter, and print what is wrong."""
    hollow = Hollow(Path(sys.argv[1]))
    learn(hollow)
    answer(hollow)
    hollow.called.clear()
    air = Air()
    cuda.runtime = lambda: air  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(onnx.parser.parse_model(MODEL), Path(scratch) / "model.onnx")
        for line in amiss(hollow, Path(scratch)):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
