"""Which TensorRT is installed, what it can do, and how it refuses.

Owns the choice of the Python module, and the border at which what its bindings raise becomes an error of
autoprec. What an installed version can do is probed by attribute, never by number.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions, packages_distributions
from importlib.metadata import version as version_of
from typing import Any

from autoprec.backends.tensorrt.log import Log, one_line
from autoprec.errors import BackendError, FailureKind, TrialError, how_to_install
from autoprec.loading import ensure_room

MODULES = {
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
}
"""Import names by the name of the extra that installs them, in the order in which they are tried: without the
metapackage only the bindings are there."""

CHECKED = "10.13 to 11.4"
"""The full TensorRTs whose API the adapter is checked against."""
_ROOM_BYTES = 288 << 20
"""Of address space, as TensorRT-RTX 1.7 takes it to load."""
_MISSING_LIBRARY = re.compile(r"(lib\S+?\.so[.\d]*): cannot open shared object file")
_WHEEL = re.compile(r"tensorrt_cu(?P<cuda>\d+)_(?P<part>bindings|libs)")
REFUSALS = (RuntimeError, TypeError, ValueError, IndexError, OverflowError)
"""What pybind11 makes of a C++ exception, of a factory that gives nothing, and of a value of another type."""


class Library:
    """An imported TensorRT and its log.

    Attributes:
        trt: the module; its classes have no type stubs.
        name, version: `TensorRT-RTX`, `1.7.1.116`.
        extra: what installs it, `tensorrt-rtx` or `tensorrt`.
        log: what the library says, kept for the call in progress.
    """

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.version: str = trt.__version__
        self.is_rtx: bool = trt.__name__.startswith("tensorrt_rtx")
        self.name = "TensorRT-RTX" if self.is_rtx else "TensorRT"
        self.extra = "tensorrt-rtx" if self.is_rtx else "tensorrt"
        self.log = Log(trt)

    @property
    def names_targets(self) -> bool:
        """Whether a build names the GPUs that it is for, so that it needs none."""
        return hasattr(self.trt.IBuilderConfig, "set_compute_capability")

    @property
    def caches_kernels(self) -> bool:
        """Whether kernels are compiled when an engine is loaded, and can be kept in a runtime cache.

        Full TensorRT has runtime configurations too, from 10.13 on, but they cache nothing.
        """
        return hasattr(getattr(self.trt, "IRuntimeConfig", None), "create_runtime_cache")

    @property
    def lists_layers(self) -> bool:
        """Whether the builder's message describes layers completely. That of full TensorRT leaves weights of
        convolutions out, where the inspector of the loaded engine has them."""
        return bool(self.is_rtx)

    @property
    def keeps_types(self) -> bool:
        """Whether an engine can be held to the types that its model has: not before TensorRT 10."""
        can_be_told = self.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") is not None
        return can_be_told or self.member("BuilderFlag", "FP16") is None

    def member(self, enum: str, name: str) -> Any | None:
        """A member of an enum of the library; None where this version does not have it."""
        return getattr(self.trt, enum).__members__.get(name)

    def start(self, factory: str) -> Any:
        """A `Builder` or a `Runtime`.

        Raises `BackendError` where there is none, since then nothing can be built or run here: a refusal is a
        `TypeError` of pybind11, and the reason is in the log. Raises `TrialError` "memory" for lack of it.
        """
        try:
            instance = getattr(self.trt, factory)(self.log.sink)
        except (*REFUSALS, MemoryError):
            instance = None
        if instance is not None:
            return instance
        reason = self.log.first_error("it gives no reason; `nvidia-smi` must list the GPU")
        if self.log.kind("build") == "memory":
            raise TrialError("memory", f"{self.name} does not start: {reason}")
        if _MISSING_LIBRARY.search(reason):
            reason += f"; `pip install --force-reinstall {bindings(self.extra)}` brings all its parts"
        raise BackendError(f"{self.name} {self.version} does not start: {reason}")

    def given(self, value: Any, kind: FailureKind, what: str) -> Any:
        """The result of a call. Raises `TrialError` with the logged reason if it is None or False."""
        if value is None or value is False:
            raise self.failure(kind, what, "the library gives no reason")
        return value

    def failure(self, kind: FailureKind, what: str, otherwise: str) -> TrialError:
        """An error with the logged reason behind `what`; out of memory is a kind of its own."""
        return TrialError(self.log.kind(kind), f"{what}: {self.log.first_error(otherwise)}")

    @contextmanager
    def asking(self, kind: FailureKind, what: str) -> Iterator[None]:
        """A block of calls of the library, in whatever way they fail.

        Raises `TrialError` of that kind for what its bindings raise, and `BackendError` for a name that this
        version lacks.
        """
        self.log.forget()
        try:
            yield
        except MemoryError as error:
            raise TrialError("memory", f"{what}: out of memory") from error
        except AttributeError as error:
            # An attribute of the None that a factory gave: a refusal, not a name that this version lacks.
            if error.obj is None:
                raise self.failure(kind, what, "the library gives no reason") from error
            raise BackendError(
                f"{self.name} {self.version} is not as expected ({error}): install TensorRT {CHECKED}"
            ) from error
        except REFUSALS as error:
            raise self.failure(kind, what, one_line(str(error))) from error


@functools.cache
def load_library(extra: str = "") -> Library:
    """Import TensorRT-RTX, or else TensorRT; `extra` (a key of `MODULES`) asks for one of them.

    Raises `BackendError` where none that is installed loads, or has room to. Cached: the logger is for the
    whole process.
    """
    broken: BackendError | None = None
    for key, names in MODULES.items():
        for module in names if extra in ("", key) else ():
            ensure_room(module, _ROOM_BYTES)
            try:
                imported = importlib.import_module(module)
                if hasattr(imported, "ILogger"):  # a folder of that name is a package too, with nothing in it
                    return Library(imported)
            except Exception as error:  # noqa: BLE001 - whatever the import of an engine raises
                # A module missing inside an installed TensorRT means that it is broken, not absent.
                if not isinstance(error, ModuleNotFoundError) or error.name != module:
                    broken = broken or _broken(module, key, error)
    if broken is not None:
        raise broken
    wanted = extra or "tensorrt-rtx"
    raise BackendError(f"{wanted} is not installed: {how_to_install(wanted)}")


def is_installed(extra: str) -> bool:
    """Whether that TensorRT is there, even if it does not load."""
    try:
        load_library(extra)
    except BackendError as error:
        return "is not installed" not in str(error)
    return True


def _broken(module: str, extra: str, error: Exception) -> BackendError:
    """Why a package that is there cannot be imported, and what to install."""
    words = f"{module} is installed but does not load: {error}"
    library = _MISSING_LIBRARY.search(str(error))
    package = bindings(extra)
    if library is None:
        return BackendError(f"{words}; `pip install --force-reinstall {package}` brings all its parts")
    if library[1].startswith(("libcuda.", "libnvidia")):
        return BackendError(f"{words}; install the NVIDIA driver: `nvidia-smi` must list the GPU")
    if library[1].startswith("libnv"):
        return BackendError(
            f"{words}; its libraries are not there: `pip install {package}` brings them, or put those of "
            "that version on LD_LIBRARY_PATH"
        )
    return BackendError(
        f"{words}; its libraries are made for another CUDA: `pip install --force-reinstall {package}` brings "
        "those that its bindings are made for"
    )


def bindings(extra: str) -> str:
    """What to install for the bindings that are there, as `tensorrt-cu13==11.4.0.106`."""
    for name in packages_distributions().get(MODULES[extra][-1], ()):
        package = name.lower().replace("_", "-").removesuffix("-bindings")
        return f"{package}=={version_of(name)}"
    return extra


def mixed_wheels() -> str:
    """What to do where TensorRT's bindings and libraries are made for different CUDAs; else empty."""
    matches = (_WHEEL.fullmatch(each.metadata["Name"].lower().replace("-", "_")) for each in distributions())
    majors = {match["part"]: match["cuda"] for match in matches if match}
    ours, theirs = majors.get("bindings"), majors.get("libs")
    if ours is None or theirs is None or ours == theirs:
        return ""
    return (
        f"its bindings are made for CUDA {ours}, its libraries for CUDA {theirs}: `pip uninstall tensorrt-"
        f"cu{theirs} tensorrt-cu{theirs}-libs`, then `pip install --force-reinstall {bindings('tensorrt')}`"
    )
