"""Which TensorRT a target has, and what it says."""

from __future__ import annotations

import importlib
from typing import Any, Dict

_MODULES = {
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
}


def import_tensorrt(library: str = "") -> Any:
    """TensorRT-RTX, or else TensorRT; `library` asks for one of them. Raises ImportError."""
    errors = []
    for key, names in _MODULES.items():
        for name in names if library in ("", key) else ():
            try:
                module = importlib.import_module(name)
                if hasattr(module, "ILogger"):  # a folder of that name is a package too, with nothing in it
                    return module
            except ImportError as error:  # noqa: PERF203 - four names
                errors.append(str(error))
    raise ImportError("; ".join(errors) or "there is no TensorRT")


def make_log(trt: Any) -> Any:
    """The process's logger: keeps errors and the builder's layer list."""
    severity = trt.ILogger.Severity
    grave = (severity.INTERNAL_ERROR, severity.ERROR)

    class AgentLog(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.layers = ""

        def log(self, level: Any, text: str) -> None:
            if level in grave:
                self.errors.append(text)
            elif text.startswith("Layers:"):
                self.layers = text

        def words(self, otherwise: str) -> str:
            # TensorRT-RTX 1.4 adds such a line to every failure without a GPU; the cause is another one.
            related = [text for text in self.errors if "catchCudaError" not in text]
            return " ".join(related[0].split())[:400] if related else otherwise

    return AgentLog()


def parser_words(parser: Any) -> str:
    """The parser's first error, with its node where this version reports it."""
    if not parser.num_errors:
        return ""
    error = parser.get_error(0)
    node = error.node_operator() if hasattr(error, "node_operator") else ""
    # Not in every version from 8.5 on.
    name = error.node_name() if hasattr(error, "node_name") else ""
    return "{}{}".format(f"{node} {name!r}: " if node else "", " ".join(error.desc().split())[:400])


def make_profiler(trt: Any, times: Dict[str, float]) -> Any:
    """A profiler that writes milliseconds by layer into a mapping."""

    class LayerTimes(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times[layer_name] = ms

    return LayerTimes()
