"""Which TensorRT is installed, and what it says.

Owns the choice of the Python module and the one logger of the process: TensorRT keeps the first logger that
it is given and ignores later ones. What an installed version can do is probed by attribute, never by number.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autoprec.errors import BackendError

MODULES = {"tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"), "tensorrt": ("tensorrt",)}
"""Import names by the name of the extra that installs them, in the order in which they are tried."""

LAYERS_HEADING = "Layers:"
_NOISE = re.compile(
    r"^I?\w+::\w+: (?=Error Code)|Error Code \d+: |"
    r"\[?\b\w+\.(cpp|h):\d+: \w+\]? ?|\bIn \w+ at /\S+?\d+(?=\W|$)|^\[?\w+\.(cpp|h)::\S+\] ?"
)
_CONDITION = re.compile(r"^Assertion failed: .*?: (?=[A-Z])")  # what follows says it in words
_LONGEST = 240


class Library:
    """An imported TensorRT and its log.

    Attributes:
        trt: the module; its classes have no type stubs.
        name, version: `TensorRT-RTX`, `1.7.1.116`.
        log: what the library says, kept for the build in progress.
    """

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.version: str = trt.__version__
        self.is_rtx = trt.__name__.startswith("tensorrt_rtx")
        self.name = "TensorRT-RTX" if self.is_rtx else "TensorRT"
        self.log = Log(trt)

    @property
    def names_targets(self) -> bool:
        """Whether a build names the GPUs that it is for, so that it needs none."""
        return hasattr(self.trt.IBuilderConfig, "set_compute_capability")

    @property
    def caches_kernels(self) -> bool:
        """Whether kernels are compiled when an engine is loaded, and can be kept in a runtime cache."""
        return hasattr(self.trt.ICudaEngine, "create_runtime_config")

    def member(self, enum: str, name: str) -> Any | None:
        """A member of an enum of the library; None where this version does not have it."""
        return getattr(self.trt, enum).__members__.get(name)


class Log:
    """Keeps the first error, the warnings and the layer list of one build, and drops the chatter."""

    def __init__(self, trt: Any) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layers = ""
        severity = trt.ILogger.Severity
        grave = (severity.INTERNAL_ERROR, severity.ERROR)

        class Sink(trt.ILogger):  # type: ignore[misc]
            def __init__(sink) -> None:  # noqa: N805
                trt.ILogger.__init__(sink)

            def log(sink, level: Any, text: str) -> None:  # noqa: N805
                if level in grave:
                    self.errors.append(text)
                elif level == severity.WARNING:
                    self.warnings.append(text)
                elif text.startswith(LAYERS_HEADING):
                    self.layers = text

        self.sink = Sink()

    @contextmanager
    def fresh(self) -> Iterator[Log]:
        """Forget what earlier builds said."""
        self.errors.clear()
        self.warnings.clear()
        self.layers = ""
        yield self

    def first_error(self, otherwise: str) -> str:
        """The first error as one line without source locations.

        Without a GPU every failure of TensorRT-RTX 1.4 comes with an error of `catchCudaError` that has
        nothing to do with it.
        """
        related = [text for text in self.errors if "catchCudaError" not in text]
        return one_line(related[0]) if related else otherwise


def one_line(text: str) -> str:
    """A message of TensorRT without line breaks, error codes and places in its source, cut short."""
    text = _NOISE.sub("", " ".join(text.split())).strip()
    text = _CONDITION.sub("", text)
    if text.startswith("Myelin (") and text.endswith(")"):
        text = text.removeprefix("Myelin (").removesuffix(")").strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@functools.cache
def load_library(extra: str = "") -> Library:
    """Import TensorRT-RTX, or else TensorRT; `extra` (a key of `MODULES`) asks for one of them.

    Raises `BackendError` where it is not installed. Cached, since the logger is for the whole process.
    """
    for module in [name for key, names in MODULES.items() if extra in ("", key) for name in names]:
        try:
            return Library(importlib.import_module(module))
        except ModuleNotFoundError as error:
            if error.name != module:
                raise BackendError(f"{module} is installed but does not load: {error}") from error
        except (ImportError, OSError) as error:
            raise BackendError(f"{module} is installed but does not load: {error}") from error
    wanted = extra or "tensorrt-rtx"
    raise BackendError(f"{wanted} is not installed; `pip install 'autoprec[{wanted}]'` brings it")
