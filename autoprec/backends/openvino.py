"""OpenVINO on the CPU: the embedded default engine; it honours explicit types node by node.

`INFERENCE_PRECISION_HINT=f32` must be set: any other hint overrides the graph's own types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
from numpy.typing import NDArray

from autoprec.backends._base import Arrays, as_float32
from autoprec.errors import BackendError, SpecError, TrialError
from autoprec.records import Clocks, Fingerprint, KernelTime

_SUFFIXES = {"f32": "f32", "bf16": "bf16", "f16": "f16", "i8": "i8", "u8": "i8"}


class OpenVinoBackend:
    """Builds engines for this machine's CPU.

    Args:
        options: `threads` (default 1).

    Raises `BackendError` without OpenVINO, `SpecError` for an unknown option.
    """

    name = "openvino"
    stopwatch = "host"
    base_precision = "fp32"
    # Measured 2026-11-23, OpenVINO 2026.4.1, Xeon with AVX512-BF16 but no AMX: INT8 convolutions with FP32
    # around them 3.3x FP32, with BF16 around them 0.36x (gemm fallback), BF16 convolutions 0.54x.

    def __init__(self, options: Mapping[str, str | int | float | bool]) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendError("backend 'openvino' is not installed: `pip install openvino`") from error
        unknown = set(options) - {"threads"}
        if unknown:
            raise SpecError(f"backend.options: openvino has no option {min(unknown)!r}; it has: threads")
        threads = options.get("threads", 1)
        if not isinstance(threads, int) or threads < 1:
            raise SpecError(f"backend.options.threads is {threads!r}; give a whole number from 1")
        self._openvino = openvino
        self._core = openvino.Core()
        self._threads = threads

    def fingerprint(self) -> Fingerprint:
        """OpenVINO's version, the CPU's name, the number of threads."""
        return Fingerprint(
            backend=self.name,
            version=str(self._openvino.__version__),
            device=str(self._core.get_property("CPU", "FULL_DEVICE_NAME")),
            options=json.dumps({"threads": self._threads}),
        )

    def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        """Compile an ONNX file for one stream on `threads` threads. Raises `TrialError("build", ...)`."""
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "PERF_COUNT": profiled,
        }
        try:
            model = self._core.read_model(str(model_path))
            compiled = self._core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise TrialError(
                "build", f"OpenVINO cannot build {model_path.name}: {_first_line(error)}"
            ) from error
        return OpenVinoEngine(compiled, _weight_bytes(model_path), profiled=profiled)

    def clocks(self) -> Clocks:
        """The CPU's frequency and the machine's load."""
        frequency = psutil.cpu_freq()
        return Clocks(cpu_mhz=frequency.current if frequency else None, load_average=psutil.getloadavg()[0])


class OpenVinoEngine:
    """A compiled model and its one infer request."""

    device_memory_bytes = 0

    def __init__(self, compiled: Any, engine_bytes: int, *, profiled: bool) -> None:
        self.engine_bytes = engine_bytes
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._profiled = profiled

    def prepare(self, inputs: Arrays) -> None:
        """Copy inputs (by ONNX name) into the request's own tensors."""
        try:
            for port in self._compiled.inputs:
                array = inputs[_onnx_name(port)]
                tensor = self._request.get_tensor(port)
                if tuple(tensor.shape) != array.shape:
                    tensor.shape = array.shape
                tensor.data[...] = array
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrialError("run", f"OpenVINO refuses the inputs: {_first_line(error)}") from error

    def execute(self) -> None:
        """One inference; back when it is done."""
        try:
            self._request.infer()
        except RuntimeError as error:
            raise TrialError("run", f"OpenVINO failed in inference: {_first_line(error)}") from error

    def synchronize(self) -> None:
        """Nothing: `execute` waits by itself."""

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the outputs of the last `execute`, by ONNX name."""
        ports = self._compiled.outputs
        return {_onnx_name(port): as_float32(np.array(self._request.get_tensor(port).data)) for port in ports}

    def kernels(self) -> tuple[KernelTime, ...]:
        """The nodes of the runtime model: which ONNX nodes are in each, its kernel, its time if profiled."""
        times = {info.node_name: info.real_time.total_seconds() * 1e3 for info in self._profile()}
        found = []
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            facts = {key: _text(value) for key, value in node.get_rt_info().items()}
            kernel = facts.get("primitiveType", "")
            if facts.get("layerType") in ("Const", "Input", "Output") or kernel.startswith("unknown"):
                continue
            # A convolution's bias is a node of its own to OpenVINO, which renames the convolution for it.
            names = (name.removesuffix("/WithoutBiases") for name in facts["originalLayersNames"].split(","))
            origin = tuple(dict.fromkeys(name for name in names if name))
            name = node.get_friendly_name()
            precision = _SUFFIXES.get(kernel.rsplit("_", 1)[-1].lower(), "")
            found.append(
                KernelTime(
                    nodes=origin or (name,), kernel=kernel, precision=precision, time_ms=times.get(name, 0.0)
                )
            )
        return tuple(found)

    def close(self) -> None:
        """Drop the request and the compiled model."""
        self._request = self._compiled = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _profile(self) -> list[Any]:
        return list(self._request.get_profiling_info()) if self._profiled else []


def _onnx_name(port: Any) -> str:
    """The name that ONNX has for an input or output: a tensor's other names are those of folded Casts."""
    return str(port.get_node().get_friendly_name()).removesuffix("/sink_port_0")


def _text(value: Any) -> str:
    """A runtime attribute as text; OpenVINO wraps some of them."""
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def _first_line(error: Exception) -> str:
    """The line of OpenVINO's message that says what is wrong: the ones before it name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (telling or lines or [type(error).__name__])[0]


def _weight_bytes(path: Path) -> int:
    """Size of the model as rewritten: OpenVINO tells no size of a compiled model without exporting it."""
    return path.stat().st_size
