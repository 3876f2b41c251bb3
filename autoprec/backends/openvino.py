"""OpenVINO on the CPU: the embedded default engine; it honours explicit types node by node.

`INFERENCE_PRECISION_HINT=f32` must be set: any other hint overrides the graph's own types. Which ONNX nodes
a kernel holds is worked out in `openvino_nodes.py`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import psutil
from numpy.typing import NDArray

from autoprec.backends._base import Arrays, StopwatchName, as_float32
from autoprec.backends.openvino_nodes import Graph, RuntimeNode, kernels_of, read_graph
from autoprec.closing import Closing
from autoprec.errors import BackendError, FailureKind, SpecError, TrialError, exhausted
from autoprec.loading import ensure_room
from autoprec.records import Clocks, Fingerprint, KernelTime

_FORMALITIES = (
    "Exception from",
    "Check '",
    "FrontEnd API failed",
    "Model wasn't fully converted",
    "Summary:",
)
_ROOM_BYTES = 160 << 20
"""Of address space, for the library and its plugin for processors, as 2026.4 takes it."""
_FIRST_USE = threading.Lock()
_UNKNOWN = "No conversion rule found for operations"


class OpenVinoBackend:
    """Builds engines for this machine's CPU.

    Args:
        options: `threads` (default 1); one is timed by processor time, which neighbours do not stretch.

    Raises `BackendError` without OpenVINO, `SpecError` for an unknown option.
    """

    name = "openvino"
    stopwatch: StopwatchName
    # Not BF16: an INT8 convolution with a BF16 bias falls back to `jit_gemm_I8`, 7 to 50 times as slow as the
    # `brgconv_avx512_I8` of an FP32 bias. OpenVINO 2026.4.1, Xeon with AVX512-BF16 and no AMX, 2026-11-23.
    base_precision = "fp32"
    bases: tuple[str, ...] = ("fp32", "bf16")
    grids: tuple[str, ...] = ("unsigned", "signed", "offset")
    widened: frozenset[tuple[str, str]] = frozenset()
    splits_projections: bool = False
    has_own_device: bool = False
    uses_tf32: bool = False
    builds_on_device: bool = True  # the CPU compiles, and would be timed beside it

    def __init__(self, options: Mapping[str, str | int | float | bool]) -> None:
        unknown = sorted(set(options) - {"threads"})
        if unknown:
            raise SpecError(f"backend.options: openvino has no option {unknown[0]!r}; it has: threads")
        threads = options.get("threads", 1)
        if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
            raise SpecError(f"backend.options.threads is {threads!r}; give a whole number from 1")
        # Its telemetry forks this process, a worker's too, and the child holds every pipe and file for ever.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        ensure_room("openvino", _ROOM_BYTES)
        try:
            import openvino
        except ImportError as error:
            raise BackendError("backend 'openvino' is not installed: `pip install openvino`") from error
        # It makes its table of types at the first use, and lets go of Python's lock meanwhile: two threads
        # that come first, as in a calibration, wait for one another for ever (2026.4.1, 2026-11-28).
        with _FIRST_USE:
            openvino.Type.f32.to_dtype()
        self._openvino = openvino
        self._core = openvino.Core()
        self._threads = threads
        self.stopwatch = "processor" if threads == 1 else "host"

    def fingerprint(self) -> Fingerprint:
        """OpenVINO's version, the CPU's name, the number of threads."""
        return Fingerprint(
            backend=self.name,
            version=str(self._openvino.__version__),
            device=str(self._core.get_property("CPU", "FULL_DEVICE_NAME")),
            options=json.dumps({"threads": self._threads, **_isa()}),
        )

    def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        """Compile an ONNX file for one stream on `threads` threads. Raises `TrialError("build", ...)`."""
        settings = {
            # By itself OpenVINO takes BF16 where the processor has it, whatever types the graph has: a block
            # typed FP32 would run, and be timed, in BF16. With this hint kernels follow the types of the
            # graph.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self._threads,
            # Several streams raise the throughput of requests side by side and slow each one down: latency is
            # measured.
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "PERF_COUNT": profiled,
        }
        try:
            graph = read_graph(model_path)
            compiled = self._core.compile_model(self._core.read_model(str(model_path)), "CPU", settings)
            return OpenVinoEngine(compiled, graph, self._openvino.Tensor)
        except MemoryError as error:
            raise TrialError("memory", f"out of memory while building {model_path.name}") from error
        except (RuntimeError, ValueError) as error:
            if (words := exhausted(error)) and "memory" not in words:  # whatever the candidate is
                raise BackendError(words) from error
            kind: FailureKind = "memory" if words else "build"
            raise TrialError(kind, f"OpenVINO cannot build {model_path.name}: {_reason(error)}") from error

    def clocks(self) -> Clocks:
        """The CPU's frequency and the machine's load."""
        frequency = psutil.cpu_freq()
        return Clocks(cpu_mhz=frequency.current if frequency else None, load_average=psutil.getloadavg()[0])


class OpenVinoEngine(Closing):
    """A compiled model and its one infer request.

    `engine_bytes` is the size of the weights as the rewritten model holds them: OpenVINO reports the size of
    a compiled model only by exporting it.
    """

    device_memory_bytes = 0

    def __init__(self, compiled: Any, graph: Graph, tensor: Callable[..., Any]) -> None:
        self._tensor = tensor
        self.engine_bytes = graph.weight_bytes
        self._graph = graph
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def prepare(self, inputs: Arrays) -> None:
        """Let the request read inputs (by ONNX name) in place; those of another type or layout are copied.

        A copy of 3 MB would take a tenth of the time of a quick engine.
        """
        missing = [name for name in self._graph.inputs if name not in inputs]
        if missing:
            raise TrialError(
                "run", f"the input {missing[0]!r} was not given; given were: {', '.join(inputs)}"
            )
        try:
            for name in self._graph.inputs:
                self._request.set_tensor(name, self._placed(inputs[name], self._compiled.input(name)))
        except (RuntimeError, ValueError, TypeError) as error:
            raise TrialError("run", f"OpenVINO refuses the input {name!r}: {_reason(error)}") from error

    def _placed(self, array: NDArray[Any], port: Any) -> Any:
        """A tensor of the port's type: over the array's own memory if it can be."""
        kind = port.get_element_type()
        # Of BF16 OpenVINO says FP16, so FP16 values would be taken for BF16 bits.
        fits = array.dtype == kind.to_dtype() and kind.get_type_name() != "bf16"
        # OpenVINO shares no memory that it may not write to.
        if fits and array.flags.c_contiguous and array.flags.writeable:
            return self._tensor(array, shared_memory=True)
        tensor = self._tensor(kind, array.shape)
        _elements(tensor)[...] = array
        return tensor

    def execute(self) -> None:
        """One inference; returns when it is done."""
        try:
            self._request.infer()
        except MemoryError as error:
            raise TrialError("memory", "out of memory during inference") from error
        except RuntimeError as error:
            raise TrialError("run", f"OpenVINO failed during inference: {_reason(error)}") from error

    def synchronize(self) -> None:
        """Nothing: `execute` waits by itself."""

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the outputs of the last `execute`, by ONNX name."""
        # By position: where a last Cast is optimised away, a port carries the names of both values.
        tensors = (self._request.get_output_tensor(index) for index in range(len(self._graph.outputs)))
        return {
            name: as_float32(_elements(tensor).copy())
            for name, tensor in zip(self._graph.outputs, tensors, strict=True)
        }

    def kernels(self) -> tuple[KernelTime, ...]:
        """The executed nodes of the runtime model; times are means over all executions, if profiled."""
        nodes = []
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            facts = {key: _text(value) for key, value in node.get_rt_info().items()}
            nodes.append(
                RuntimeNode(
                    kind=facts["layerType"],
                    kernel=facts["primitiveType"],
                    origins=tuple(filter(None, facts["originalLayersNames"].split(","))),
                    time_ms=float(facts["execTimeMcs"]) / 1e3 if facts["execTimeMcs"].isdigit() else 0.0,
                )
            )
        return kernels_of(self._graph, nodes)

    def close(self) -> None:
        """Drop the request and the compiled model; a second call does nothing."""
        self._request = self._compiled = None


def _isa() -> dict[str, str]:
    """oneDNN's instruction limit, if one is set: the processor then runs other kernels."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    return {"instructions": limit} if limit else {}


def _elements(tensor: Any) -> NDArray[Any]:
    """A tensor's memory as an array; OpenVINO shows BF16 as if its bits were FP16."""
    data: NDArray[Any] = tensor.data
    return data.view(ml_dtypes.bfloat16) if tensor.element_type.get_type_name() == "bf16" else data


def _text(value: Any) -> str:
    """A runtime attribute as text; OpenVINO wraps some of them."""
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def _reason(error: Exception) -> str:
    """What OpenVINO's message says is wrong, in one line, without the lines on its own source files."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines() if line.strip()]
    unknown = next((line for line in lines if line.startswith(_UNKNOWN)), "")
    telling = [unknown] if unknown else [line for line in lines if not line.startswith(_FORMALITIES)]
    return " ".join(telling or lines)[:500] or type(error).__name__
