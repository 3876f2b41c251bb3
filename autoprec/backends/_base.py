"""What every backend promises: build, run and time are three steps.

A backend turns an ONNX file into an engine, and the engine into outputs and kernel names. It holds no
clock: `timing.py` does. Errors of the engine's library become `TrialError` at this border and nowhere
else: kind "build" from `build`, kind "run" from the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from autoprec.records import Clocks, Fingerprint, KernelTime, MachineCheck, Record, Told

Arrays = Mapping[str, NDArray[Any]]
StopwatchName = Literal["host", "processor", "cuda", "known", "target"]


class Engine(Protocol):
    """A built engine; lives in a `with` block and frees its memory there, also on error."""

    engine_bytes: int
    device_memory_bytes: int
    """Weights, activations and workspace on the device, where the engine reports it; else 0."""

    def prepare(self, inputs: Arrays) -> None:
        """Place inputs where `execute` finds them: copies stay out of a timing."""

    def execute(self) -> None:
        """One inference of what `prepare` placed. On a GPU only enqueued: see `synchronize`."""

    def synchronize(self) -> None:
        """Wait until what `execute` began is done."""

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the outputs of the last `execute`, by name. FP16 and BF16 outputs come as float32."""

    def kernels(self) -> tuple[KernelTime, ...]:
        """Every kernel with the ONNX nodes in it; times from the last `execute` where the engine has them."""

    def close(self) -> None:
        """Free everything; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Builder(Protocol):
    """Turns an ONNX file into what runs it."""

    def build(self, model_path: Path, *, profiled: bool = False) -> Engine:
        """Build an engine of an ONNX file. Raises `TrialError("build", ...)`."""


class Device(Record, frozen=True, kw_only=True):
    """Something that runs one timing at a time.

    Attributes:
        name: what tables call it, `gpu 1` or `cpu`.
        kind: what it is; figures of devices of another kind are not comparable.
        lease: what distinguishes it from every other device of the machine, for the lease of it.
        environment: variables with which a process sees this device and no other; empty for the only one.
    """

    name: str
    kind: str = ""
    lease: str = ""
    environment: dict[str, str] = msgspec.field(default_factory=dict)


class Backend(Protocol):
    """Builds engines for one kind of runtime and device."""

    name: str
    stopwatch: StopwatchName
    """Which of `timing.STOPWATCHES` times its engines."""
    grids: tuple[str, ...]
    """Names of `graph.grids.grid.GRIDS` that its 8-bit activations may be offered on; which it takes where is
    probed. "signed" is among them."""
    widened: frozenset[tuple[str, str]]
    """(op type, float precision) that the engine refuses: such nodes compute in FP32 between Casts."""

    @property
    def base_precision(self) -> str:
        """The float precision that quantised blocks compute their float parts in: the fastest safe one."""

    @property
    def splits_projections(self) -> bool:
        """Whether a quantised product whose columns are taken in parts is written as one for each part,
        because the engine dequantises it."""

    @property
    def builds_on_device(self) -> bool:
        """Whether a build uses the device that engines are timed on, as one that times kernels to choose them
        does: it must then not run beside a timing."""

    @property
    def has_own_device(self) -> bool:
        """Whether engines run on a device of this machine that is none of its processors, as a GPU: then it
        also is a `HasDevices`, and calibration and questions run on the processors beside it."""

    @property
    def uses_tf32(self) -> bool:
        """Whether products in FP32 may be computed from operands of ten fractional bits, as GPUs do."""

    @property
    def bases(self) -> tuple[str, ...]:
        """Float precisions that the float parts of quantised blocks may be in, `base_precision` first. Which
        of the others its integer kernels take, and whether one is faster, is probed."""

    def fingerprint(self) -> Fingerprint:
        """Version, device and options: measurements are comparable only where this is equal."""

    def build(self, model_path: Path, *, profiled: bool = False) -> Engine:
        """Build an engine of an ONNX file.

        `profiled` adds per-kernel times to `Engine.kernels`, at some cost in speed: never time such an
        engine. Raises `TrialError("build", ...)` with the library's first error, naming the node.
        """

    def clocks(self) -> Clocks:
        """Clocks, power and throttling now."""


@runtime_checkable
class HasDevices(Protocol):
    """A backend whose engines run on devices that a machine may have several of."""

    resource: str
    """What clusters call such a device: `GPU`."""

    @staticmethod
    def devices() -> Sequence[Device]:
        """The devices that this process may use, in the order in which users count them from 0; empty
        without their driver. Asked of the class: whoever creates a backend may have chosen one by then."""


@runtime_checkable
class ChecksItself(Protocol):
    """A backend that has more to say of a machine than what is installed."""

    def checks(self) -> Sequence[MachineCheck]:
        """Facts about it, and how to fix it. Raises `BackendError` where it cannot serve."""


@runtime_checkable
class Distant(ChecksItself, Protocol):
    """A backend whose device may be out of reach; its `checks` are of the machine there."""

    def wait(self, seconds: float, say: Callable[[str], None]) -> None:
        """Reach the device, trying again for `seconds`. Raises `BackendError` where it stays out of reach."""


@runtime_checkable
class BuildsUntimed(Protocol):
    """A backend with a quicker way to an engine that is never timed, as a decoder's."""

    def build_untimed(self, model_path: Path) -> Engine:
        """As `Backend.build`; how fast the engine runs does not matter. May be called in any thread."""


@runtime_checkable
class BuildsAhead(Protocol):
    """A backend that can build, in another thread, what it will be asked for."""

    def build_ahead(self, model_path: Path) -> None:
        """Begin: the next `Backend.build` of the file waits for it, and raises what it raised. Only for a
        backend whose builds leave the device alone."""


@runtime_checkable
class CutsMasks(Protocol):
    """An engine that can threshold masks on its own machine, where the connection is slow."""

    @property
    def cuts(self) -> bool:
        """Whether masks are to be cut there; False where their values are wanted, too."""

    def cut(self, inputs: Arrays, output: str, above: float) -> NDArray[np.bool_]:
        """Run the engine, and say where an output is above a value: a mask of the output's shape.

        Raises `TrialError`, of kind "nan" where the output is not finite.
        """


class KernelTimings(NamedTuple):
    """What builds have timed: the bytes as the library wrote them, and a name for their file, after library,
    version and GPU; both empty where this version or machine keeps none."""

    name: str
    content: bytes


@runtime_checkable
class KeepsTimings(Protocol):
    """A backend whose builds time kernels, and keep the timings."""

    def timings(self) -> KernelTimings:
        """What its builds have timed so far."""


@runtime_checkable
class ShipsEngines(Protocol):
    """A backend whose engines can be written down, to be loaded where they were built."""

    def plan(self, model_path: Path) -> bytes:
        """A built engine as its library writes it down; empty for a library that loads the model itself.
        Raises `TrialError`."""


@runtime_checkable
class TellsLayers(Protocol):
    """A backend whose library may not keep to the types in a model."""

    def told(self, model_path: Path, written: Path) -> Told | None:
        """The model that the builder is given instead, written to `written`, with a precision for each layer;
        None for a library that keeps to the types. Raises `TrialError` as `build` does."""


def computes(backend: Backend) -> bool:
    """Whether its engines compute anything: of those that only know their latency, nothing can be probed,
    compared or disturbed."""
    return backend.stopwatch != "known"


def run(engine: Engine, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Prepare, execute, wait, fetch. Raises `TrialError("run", ...)`."""
    engine.prepare(inputs)
    engine.execute()
    engine.synchronize()
    return engine.outputs()


def as_float32(array: NDArray[Any]) -> NDArray[Any]:
    """Low-precision floats (FP16, ml_dtypes BF16 and FP8) as float32; anything else unchanged."""
    low = array.dtype == np.float16 or array.dtype.name.startswith(("bfloat16", "float8"))
    return array.astype(np.float32) if low else array
