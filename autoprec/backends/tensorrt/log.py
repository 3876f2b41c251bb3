"""What TensorRT says: its errors as one line each, and what to do about the ones of CUDA.

Owns the one logger of the process: TensorRT keeps the first logger that it is given and ignores later ones.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from autoprec.errors import FailureKind

LAYERS_HEADING = "Layers:"
_NOISE = re.compile(
    r"^I?\w+::\w+: (?=Error Code)|Error Code \d+: |"
    r"\[?\b\w+\.(cpp|h):\d+: \w+\]? ?|\bIn \w+ at /\S+?\d+(?=\W|$)|^\[?\w+\.(cpp|h)::\S+\] ?"
)
_CONDITION = re.compile(r"^Assertion failed: .*?: (?=[A-Z])")  # what follows says it in words
_LONGEST = 240
_NO_CUDA = re.compile(r"CUDA initialization failure with error: (\d+)")
_REMEDIES = {
    "35": "the NVIDIA driver is older than the CUDA that this TensorRT is made for: update the driver, or "
    "install the build for the driver's CUDA, as `pip install tensorrt-cu12`",
    "100": "CUDA finds no GPU: `nvidia-smi` must list one, and CUDA_VISIBLE_DEVICES must not hide it",
    "222": "the NVIDIA driver is older than the CUDA that this TensorRT is made for: update the driver",
    "802": "the GPUs are not ready: on a machine with NVSwitch, `nvidia-fabricmanager` must run",
    "803": "the NVIDIA driver's kernel module and library differ: restart the machine",
    "804": "this GPU takes no forward-compatible CUDA: update the driver, or remove the cuda-compat package",
}
"""What to do by CUDA error (driver_types.h)."""
_REMEDY = "`nvidia-smi` must list the GPU; where it does, restart the machine or its container"


@dataclass(slots=True)
class _Said:
    """What was said during one call."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    layers: str = ""


class Log:
    """Keeps the errors, the warnings and the layer list of each thread's last call, and drops the chatter.

    TensorRT-RTX speaks in the thread that calls it, so builds in parallel have words of their own (1.6.1).
    """

    def __init__(self, trt: Any) -> None:
        self._by_thread: dict[int, _Said] = {}
        self.forget()
        severity = trt.ILogger.Severity
        grave = (severity.INTERNAL_ERROR, severity.ERROR)

        class Sink(trt.ILogger):  # type: ignore[misc]
            def __init__(sink) -> None:  # noqa: N805
                trt.ILogger.__init__(sink)

            def log(sink, level: Any, text: str) -> None:  # noqa: N805
                for said in self._hearing():
                    if level in grave:
                        said.errors.append(text)
                    elif level == severity.WARNING:
                        said.warnings.append(text)
                    elif text.startswith(LAYERS_HEADING):
                        said.layers = text

        self.sink = Sink()

    @property
    def errors(self) -> list[str]:
        """The errors of this thread's call, which may be changed."""
        return self._mine.errors

    @property
    def warnings(self) -> list[str]:
        """The warnings of this thread's call."""
        return self._mine.warnings

    @property
    def layers(self) -> str:
        """The list of layers of this thread's call; empty if there was none."""
        return self._mine.layers

    def forget(self) -> None:
        """Drop what earlier calls of this thread said: it is not the cause of what fails next."""
        self._by_thread[threading.get_ident()] = _Said()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Drop the errors of what may fail without harm, such as reading a cache that is damaged."""
        before = len(self.errors)
        try:
            yield
        finally:
            del self.errors[before:]

    @property
    def _mine(self) -> _Said:
        return self._by_thread.setdefault(threading.get_ident(), _Said())

    def _hearing(self) -> list[_Said]:
        """Whom a message is for: the thread that called, or all of them if the library has its own thread."""
        mine = self._by_thread.get(threading.get_ident())
        return list(self._by_thread.values()) if mine is None else [mine]

    def first_error(self, otherwise: str) -> str:
        """The first error as one line without source locations, with what to do where that is known.

        Without a GPU every failure of TensorRT-RTX 1.4 comes with an error of `catchCudaError` that has
        nothing to do with it.
        """
        related = [text for text in self.errors if "catchCudaError" not in text]
        if not related:
            return otherwise
        cause = _NO_CUDA.search(related[0])
        remedy = _REMEDIES.get(cause[1], _REMEDY) if cause else None
        return f"{one_line(related[0])}: {remedy}" if remedy else one_line(related[0])

    def kind(self, otherwise: FailureKind) -> FailureKind:
        """ "memory" if an error mentions it."""
        words = ("OutOfMemory", "out of memory", "OUT_OF_MEMORY")
        return "memory" if any(word in text for text in self.errors for word in words) else otherwise


def one_line(text: str) -> str:
    """A message of TensorRT without line breaks, error codes and places in its source, cut short."""
    text = _NOISE.sub("", " ".join(text.split())).strip()
    text = _CONDITION.sub("", text)
    if text.startswith("Myelin (") and text.endswith(")"):
        text = text.removeprefix("Myelin (").removesuffix(")").strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
