"""The few calls of the CUDA runtime that running an engine needs, with their errors as `TrialError`.

Memory comes from plain `cudaMalloc`; copies are ordered on one stream. Loads cuda-bindings when first used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from autoprec.errors import BackendError, FailureKind, TrialError
from autoprec.records import Record

_HARMLESS = frozenset({"cudaErrorInvalidValue", "cudaErrorNotSupported", "cudaErrorNotReady"})
"""Errors that leave the process's CUDA context usable; after any other one only a new process helps."""


class CudaDevice(Record, frozen=True, kw_only=True):
    """A GPU; `bus_id` is its PCI address, by which NVML knows it whatever CUDA_VISIBLE_DEVICES says."""

    name: str
    compute_capability: tuple[int, int]
    bus_id: str
    l2_bytes: int
    driver: str


@functools.cache
def runtime() -> Any:
    """`cuda.bindings.runtime`. Raises `BackendError` where it is not installed."""
    try:
        import cuda.bindings.runtime as module
    except ImportError as error:
        raise BackendError("cuda-bindings is not installed; `pip install cuda-bindings` brings it") from error
    return module


def call(function: str, *arguments: Any) -> Any:
    """Call `function` of the runtime and return what it gives (None, a value, or a tuple).

    Raises `TrialError`: "memory" for a failed allocation, "crash" for a fault that leaves the process's CUDA
    context unusable, else "run".
    """
    status, *values = getattr(runtime(), function)(*arguments)
    if status != runtime().cudaError_t.cudaSuccess:
        name = runtime().cudaGetErrorName(status)[1].decode()
        text = runtime().cudaGetErrorString(status)[1].decode()
        raise TrialError(_kind(name), f"{function}: {text} ({name}){_room(name)}")
    return values[0] if len(values) == 1 else tuple(values) or None


def _kind(name: str) -> FailureKind:
    if name == "cudaErrorMemoryAllocation":
        return "memory"
    return "run" if name in _HARMLESS or name.startswith("cudaErrorStreamCapture") else "crash"


def _room(name: str) -> str:
    """What to say about the memory that is left, after a failed allocation."""
    if name != "cudaErrorMemoryAllocation":
        return ""
    status, free, total = runtime().cudaMemGetInfo()
    if status != runtime().cudaError_t.cudaSuccess:
        return ""
    return f"; {free >> 20} of the GPU's {total >> 20} MiB are free: look for other processes on it"


def find_device(ordinal: int) -> CudaDevice | None:
    """The GPU of that CUDA ordinal; None on a machine without one or without a driver. Takes no memory on it.

    Raises `BackendError` if there are GPUs, but not that one, or the driver is too old.
    """
    status, count = runtime().cudaGetDeviceCount()
    name = runtime().cudaGetErrorName(status)[1].decode()
    # A machine without any driver gives the second, too.
    if name in ("cudaErrorNoDevice", "cudaErrorInsufficientDriver") and not _driver_version():
        return None
    if name == "cudaErrorNoDevice":
        raise BackendError(
            "CUDA finds no GPU: `nvidia-smi` must list one, and CUDA_VISIBLE_DEVICES must not hide it"
        )
    if name == "cudaErrorInsufficientDriver":
        raise BackendError(
            f"the NVIDIA driver serves CUDA {_driver_version()}, and cuda-bindings is made for a later one: "
            f"update the driver, or `pip install 'cuda-bindings=={_driver_version().partition('.')[0]}.*'`"
        )
    if status != runtime().cudaError_t.cudaSuccess:
        text = runtime().cudaGetErrorString(status)[1].decode()
        raise BackendError(f"CUDA does not start: {text} ({name}); `nvidia-smi` must list the GPU")
    if ordinal >= count:
        raise BackendError(
            f"backend.options.device is {ordinal}, but CUDA sees {count} GPU(s), counted from 0"
        )
    facts = call("cudaGetDeviceProperties", ordinal)
    return CudaDevice(
        name=facts.name.split(b"\0")[0].decode(),
        compute_capability=(facts.major, facts.minor),
        bus_id=call("cudaDeviceGetPCIBusId", 32, ordinal).split(b"\0")[0].decode(),
        l2_bytes=facts.l2CacheSize,
        driver=_driver_version(),
    )


def make_current(ordinal: int) -> None:
    """Take the GPU for this process: its context needs some hundred MiB there. Raises `TrialError`."""
    call("cudaSetDevice", ordinal)
    call("cudaFree", 0)  # makes the context now: runtime caches are checked against it


def _driver_version() -> str:
    """The newest CUDA version that the driver serves, as in `13.0`; empty without a driver."""
    version = call("cudaDriverGetVersion")
    return f"{version // 1000}.{version % 1000 // 10}" if version else ""


def is_usable() -> bool:
    """Whether this process's CUDA context still works; after a kernel's fault it does not."""
    (status,) = runtime().cudaDeviceSynchronize()
    return bool(status == runtime().cudaError_t.cudaSuccess)


class Stream:
    """A CUDA stream of its own: the default one costs TensorRT extra synchronisation."""

    def __init__(self) -> None:
        self._stream = call("cudaStreamCreateWithFlags", runtime().cudaStreamNonBlocking)
        self.pointer = int(self._stream)

    def synchronize(self) -> None:
        """Wait for all that was put on the stream."""
        call("cudaStreamSynchronize", self._stream)

    def capture(self, work: Callable[[], None]) -> Any:
        """Record what `work` puts on the stream as a CUDA graph, ready to launch."""
        # Only this thread's calls can break the capture; other threads may use CUDA meanwhile.
        mode = runtime().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        except Exception:
            runtime().cudaStreamEndCapture(self._stream)  # fails as well, and says less
            raise
        graph = call("cudaStreamEndCapture", self._stream)
        try:
            return call("cudaGraphInstantiate", graph, 0)
        finally:
            call("cudaGraphDestroy", graph)

    def record(self, event: Any) -> None:
        """Put an event on the stream."""
        call("cudaEventRecord", event, self._stream)

    def launch(self, graph: Any) -> None:
        """Put a recorded graph on the stream."""
        call("cudaGraphLaunch", graph, self._stream)

    def forget(self, graph: Any) -> None:
        """Free a recorded graph."""
        call("cudaGraphExecDestroy", graph)

    def upload(self, pointer: int, array: NDArray[Any]) -> None:
        """Copy a contiguous array to the device."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
        call("cudaMemcpyAsync", pointer, array.ctypes.data, array.nbytes, kind, self._stream)

    def download(self, array: NDArray[Any], pointer: int) -> None:
        """Fill a contiguous array from the device; complete after `synchronize`."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
        call("cudaMemcpyAsync", array.ctypes.data, pointer, array.nbytes, kind, self._stream)

    def close(self) -> None:
        """Destroy the stream; a second call does nothing."""
        if self._stream is not None:
            call("cudaStreamDestroy", self._stream)
        self._stream = None


class Buffers:
    """Device memory for named tensors; grows where a shape does."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, int]] = {}

    def reserve(self, name: str, size: int) -> int:
        """The address of at least `size` bytes."""
        address, held = self._held.get(name, (0, 0))
        if held < size or not address:
            self._release(name)
            # An empty tensor needs an address, too.
            address = int(call("cudaMalloc", max(size, 1)))
            self._held[name] = (address, size)
        return address

    def __getitem__(self, name: str) -> int:
        return self._held[name][0]

    @property
    def bytes_held(self) -> int:
        """Bytes of all tensors together."""
        return sum(size for _, size in self._held.values())

    def close(self) -> None:
        """Give all memory back."""
        for name in tuple(self._held):
            self._release(name)

    def _release(self, name: str) -> None:
        address, _ = self._held.pop(name, (0, 0))
        if address:
            call("cudaFree", address)


class EventTimer:
    """A pair of CUDA events around what is put on a stream between `start` and `stop`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._begin, self._end = call("cudaEventCreate"), call("cudaEventCreate")

    def start(self) -> None:
        """Put the first event on the stream."""
        self._stream.record(self._begin)

    def stop(self) -> float:
        """Put the second event on the stream, wait for it, and return the milliseconds between the two."""
        self._stream.record(self._end)
        call("cudaEventSynchronize", self._end)
        return float(call("cudaEventElapsedTime", self._begin, self._end))

    def close(self) -> None:
        """Destroy the events; a second call does nothing."""
        for event in filter(None, (self._begin, self._end)):
            call("cudaEventDestroy", event)
        self._begin = self._end = None
