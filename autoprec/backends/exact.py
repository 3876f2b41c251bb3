"""What a model computes by the standard alone: an implementation of ONNX that shares nothing with an engine.

ONNX Runtime on the CPU with its optimisations off computes node by node, in FP32: integers behind Q/DQ come
out exactly. BF16 results are rounded; that of FP16 is left out wherever ONNX Runtime takes Casts away.
Where it is missing or refuses an operator, ONNX's own reference evaluator serves. `deviation` is the one
comparison of what an engine gives with what it should. Nothing here is ever timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from autoprec.backends._base import Arrays, as_float32
from autoprec.backends.bfloat16 import without_bfloat16
from autoprec.closing import Closing
from autoprec.errors import TrialError
from autoprec.files import scratch
from autoprec.records import KernelTime

WRONG = 0.02
"""Beyond this deviation from exact arithmetic an engine computes something else, over one operator or a
handful; many of them may amplify rounding. Right ones are at 1e-7, miscomputed INT8 convolutions behind a
Concat at 0.17 (OpenVINO 2026.4.1, AMD EPYC with AVX512-VNNI, 2026-11-27)."""
JUDGED = 1
"""Counts up when anything is judged otherwise, here or in `measurement.fidelity`: what earlier versions found
of a study is then judged again."""
_SMALLEST_SCALE = 1e-5
"""Values that spread less than this are as good as constant: rounding must not count as a deviation."""
_EVALUATED_MB = 32
"""The largest file that ONNX's reference evaluator is given."""
_Run = Callable[[Arrays], list[NDArray[Any]]]


class Deviation(NamedTuple):
    """How far an engine is from exact arithmetic, in its worst value.

    `error` is the root mean square of the difference over the standard deviation of the exact value, or the
    share of unequal elements for integers, and for whole floats where that is less: in a map of classes one
    pixel that rounding flips is one pixel, however far apart the classes' numbers are. It is infinite for
    another shape, or where only one side is finite.
    """

    value: str
    error: float


def deviation(outputs: Arrays, exact: Arrays) -> Deviation:
    """The worst deviation among the values in both, matched by name; ("", 0) if they share none.

    Used wherever an engine is judged: operators that are probed, candidates, and the original model.
    """
    errors = [
        Deviation(name, error(outputs[name], array)) for name, array in exact.items() if name in outputs
    ]
    return max(errors, key=lambda one: one.error, default=Deviation("", 0.0))


def error(output: NDArray[Any], exact: NDArray[Any]) -> float:
    """The deviation of one value; see `Deviation`."""
    if output.shape != exact.shape:
        return float("inf")
    if not exact.size:
        return 0.0
    if not _is_number(exact) or not _is_number(output):
        return float(np.mean(output != exact))
    finite = np.isfinite(exact.astype(np.float64, copy=False))
    # Infinity can be right, as in a mask; then it has to be at the same places.
    if not np.array_equal(output[~finite], exact[~finite], equal_nan=True):
        return float("inf")
    wanted, got = exact[finite].astype(np.float64), output[finite].astype(np.float64)
    if not np.isfinite(got).all():
        return float("inf")
    if not wanted.size:
        return 0.0
    # Of values that hardly vary about a large mean, FP32 rounds by parts of the mean, not of the spread.
    scale = max(float(wanted.std()), 1e-3 * _rms(wanted), _SMALLEST_SCALE)
    spread = _rms(got - wanted) / scale
    are_whole = np.array_equal(wanted, np.round(wanted)) and np.array_equal(got, np.round(got))
    return min(spread, float(np.mean(got != wanted))) if are_whole else spread


class Exact:
    """Builds exact runs of models, with the interface of a backend.

    Args:
        threads: of ONNX Runtime; None takes every core that this process may use.
        patient: take ONNX's reference evaluator where ONNX Runtime will not do; it is a hundred times slower.
    """

    def __init__(self, threads: int | None = None, *, patient: bool = True) -> None:
        self._threads = threads or len(os.sched_getaffinity(0))
        self._patient = patient

    def build(self, model_path: Path, *, profiled: bool = False) -> ExactEngine:  # noqa: ARG002 - as backends
        """A run of an ONNX file as it stands. Raises `TrialError("build", ...)` where nothing takes it."""
        return ExactEngine(model_path, self._threads, patient=self._patient)


class ExactEngine(Closing):
    """One model, computed exactly; use in a `with` block. `implementation` names what computes it."""

    engine_bytes = 0
    device_memory_bytes = 0

    def __init__(self, model_path: Path, threads: int, *, patient: bool) -> None:
        self._path, self._patient = model_path, patient
        self._results: dict[str, NDArray[Any]] = {}
        self._feeds: dict[str, NDArray[Any]] = {}
        graph = onnx.load(model_path, load_external_data=False).graph
        # An initializer may be listed as an input, too, which nobody feeds.
        held = {tensor.name for tensor in graph.initializer}
        self._types = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in graph.input
            if value.name not in held
        }
        self._outputs = [value.name for value in graph.output]
        self._refusal = ""
        try:
            self._run, self.implementation = _runtime(model_path, threads)
        except ImportError:
            self._refusal = "it is not installed: pip install onnxruntime"
            self._run, self.implementation = self._evaluator()
        except Exception as reason:  # noqa: BLE001 - ONNX Runtime has no root of its errors
            self._refusal = _line(reason)
            self._run, self.implementation = self._evaluator()

    def prepare(self, inputs: Arrays) -> None:
        """Take inputs by name, in any float type; they are converted to the model's own."""
        missing = [name for name in self._types if name not in inputs]
        if missing:
            raise TrialError(
                "run", f"the input {missing[0]!r} was not given; given were: {', '.join(inputs)}"
            )
        self._feeds = {name: inputs[name].astype(kind, copy=False) for name, kind in self._types.items()}

    def execute(self) -> None:
        """Compute. Raises `TrialError("run", ...)` where no implementation can."""
        try:
            results = self._run(self._feeds)
        except Exception as reason:
            if self._refusal:
                raise TrialError("run", f"{self.implementation} fails: {_line(reason)}") from reason
            self._refusal = _line(reason)
            self._run, self.implementation = self._evaluator()
            self.execute()
            return
        self._results = dict(zip(self._outputs, results, strict=True))

    def synchronize(self) -> None:
        """Nothing: `execute` waits by itself."""

    def outputs(self) -> dict[str, NDArray[Any]]:
        """The outputs of the last `execute`, by name; FP16 and BF16 as float32."""
        return {name: as_float32(np.asarray(array)) for name, array in self._results.items()}

    def kernels(self) -> tuple[KernelTime, ...]:
        """No kernels: exact runs are never timed."""
        return ()

    def close(self) -> None:
        """Let go of the model; a second call does nothing."""
        self._run, self._results, self._feeds = _closed, {}, {}

    def _evaluator(self) -> tuple[_Run, str]:
        """ONNX's reference evaluator. Raises `TrialError("build", ...)` with both refusals."""
        megabytes = self._path.stat().st_size / 1e6
        if not self._patient or megabytes > _EVALUATED_MB:
            raise TrialError(
                "build",
                f"ONNX Runtime cannot run {self._path.name} ({self._refusal}), and ONNX's reference "
                f"evaluator is too slow for {megabytes:.0f} MB",
            )
        try:
            from onnx.reference import ReferenceEvaluator

            evaluator = ReferenceEvaluator(_as_evaluated(onnx.load(self._path)))
        except Exception as reason:
            raise TrialError(
                "build",
                f"no independent implementation runs {self._path.name}: ONNX Runtime: {self._refusal}; "
                f"ONNX's reference evaluator: {_line(reason)}",
            ) from reason

        def run(feeds: Arrays) -> list[NDArray[Any]]:
            return [np.asarray(array) for array in evaluator.run(None, dict(feeds))]

        return run, f"ONNX reference evaluator {onnx.__version__}"


def _runtime(path: Path, threads: int) -> tuple[_Run, str]:
    """ONNX Runtime. Raises its errors, or ImportError where it is not installed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    # Threads that wait by spinning take the cores from calibration and from builds beside this.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What it warns of would stand among the search's own lines; what it refuses, it raises.
    options.log_severity_level = 4
    # An arena keeps the most that any run took, which builds and engines beside this need.
    options.enable_cpu_mem_arena = False
    with scratch("autoprec-exact-") as folder:
        file = without_bfloat16(path, folder / "model.onnx")
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(feeds: Arrays) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = session.run(None, dict(feeds))
        return outputs

    return run, f"ONNX Runtime {onnxruntime.__version__}"


def _as_evaluated(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with GridSample's modes renamed as in opset 20, the only names that the evaluator knows."""
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "GridSample" else ():
            if attribute.name == "mode":
                attribute.s = attribute.s.removeprefix(b"bi")
    return model


def _closed(feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    raise TrialError("run", f"it is closed and takes no {', '.join(feeds)}")


def _is_number(array: NDArray[Any]) -> bool:
    """Whether values are numbers: floats, or 8-bit levels. Other integers are labels or indices."""
    return array.dtype.kind == "f" or (array.dtype.kind in "iu" and array.dtype.itemsize == 1)


def _rms(array: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(array))))


def _line(error: Exception) -> str:
    """The first line of a message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
