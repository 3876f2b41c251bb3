"""OpenVINO on the target's CPU: 2023 or later."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


class OpenVinoCompiler:
    """Builds OpenVINO engines; `threads` as in the definition's `[backend.options]`."""

    def __init__(self, options: dict[str, Any]) -> None:
        # Its telemetry forks this process, and the child would hold the line open for ever (2024.4).
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino

        self._openvino = openvino
        self._core = openvino.Core()
        self._threads = int(options.get("threads", 1))

    def facts(self) -> dict[str, Any]:
        """Version and device."""
        return {
            "version": str(self._openvino.__version__),
            "device": str(self._core.get_property("CPU", "FULL_DEVICE_NAME")),
            # Versions before 2025 refuse opset 22; see `split_model` on why a stamp of 21 serves.
            "newest_opset": 21 if int(str(self._openvino.__version__).split(".")[0]) < 2025 else 0,
        }

    def build(self, path: Path, options: dict[str, Any]) -> OpenVinoExecutable:
        """Compile a model file."""
        settings = {
            # Why each of these: `autoprec/backends/openvino.py`.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "PERF_COUNT": bool(options.get("profiled")),
        }
        compiled = self._core.compile_model(self._core.read_model(str(path)), "CPU", settings)
        return OpenVinoExecutable(self._openvino, compiled, self._threads == 1)

    def clocks(self) -> dict[str, Any]:
        """The machine's load, and the first core's frequency where Linux reports it."""
        readings: dict[str, Any] = {"load_average": os.getloadavg()[0]}
        try:
            scaling = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
            readings["cpu_mhz"] = int(scaling.read_text()) / 1e3
        except (OSError, ValueError):
            pass
        return readings


class OpenVinoExecutable:
    """A compiled model and its one infer request."""

    device_memory_bytes = 0
    engine_bytes = 0

    def __init__(self, openvino: Any, compiled: Any, one_thread: bool) -> None:
        self._openvino, self._compiled = openvino, compiled
        self._request = compiled.create_infer_request()
        self.output_names = [""] * len(compiled.outputs)  # a port may carry several names: the order decides
        self._clock = time.process_time_ns if one_thread else time.perf_counter_ns

    def prepare(self, inputs: dict[str, Any]) -> None:
        """Put inputs, by name, where the engine finds them."""
        for name, array in inputs.items():
            kind = self._compiled.input(name).get_element_type()
            tensor = self._openvino.Tensor(kind, list(array.shape))
            if kind.get_type_name() == "bf16":
                # numpy alone knows no BF16, and OpenVINO shows its bits as
                # FP16: rounded by hand, half to even.
                bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
                rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
                tensor.data[...] = rounded.astype(np.uint16).view(np.float16)
            else:
                tensor.data[...] = array
            self._request.set_tensor(name, tensor)

    def execute(self) -> None:
        """One inference."""
        self._request.infer()

    def milliseconds(self, repeats: int) -> float:
        """The mean of `repeats` inferences."""
        start = self._clock()
        for _ in range(repeats):
            self._request.infer()
        return (self._clock() - start) / (1e6 * repeats)

    def outputs(self) -> list[Any]:
        """The outputs in the model's order; BF16 as float32."""
        arrays = []
        for index in range(len(self._compiled.outputs)):
            tensor = self._request.get_output_tensor(index)
            data = tensor.data
            if tensor.element_type.get_type_name() == "bf16":
                data = (np.ascontiguousarray(data).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
            arrays.append(np.array(data))
        return arrays

    def description(self) -> dict[str, Any]:
        """The executed nodes of the runtime model, as OpenVINO reports them."""
        keys = ("layerType", "primitiveType", "originalLayersNames", "execTimeMcs")
        nodes = []
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            facts = {key: _text(value) for key, value in node.get_rt_info().items()}
            nodes.append([facts.get(key, "") for key in keys])
        return {"nodes": nodes}

    def close(self) -> None:
        """Drop what is held."""
        self._request = self._compiled = None


def _text(value: Any) -> str:
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def machine() -> str:
    """What kind of machine this is."""
    return f"{platform.system()} {platform.machine()}"
