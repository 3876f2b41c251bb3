"""Stand-ins for a GPU: device memory is this process's, and the clock advances with each inference."""

from __future__ import annotations

import ctypes
import itertools
import random
from enum import Enum
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol


class Work(Protocol):
    """Work for a stream, which takes `ms` milliseconds."""

    ms: float

    def compute(self) -> None:
        """Compute the outputs."""


class Air:
    """A CUDA runtime and a GPU that do nothing and report success."""

    cudaError_t = Enum("cudaError_t", {"cudaSuccess": 0})  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815
    given: ClassVar = {
        "cudaGetDeviceCount": 1,
        "cudaDriverGetVersion": 13000,
        "cudaDeviceGetPCIBusId": b"0",
        "cudaGetErrorName": b"cudaSuccess",
        "cudaGetDeviceProperties": SimpleNamespace(name=b"air", major=8, minor=9, l2CacheSize=0),
    }

    def __getattr__(self, name: str) -> Any:
        empty = name.endswith(("Synchronize", "Destroy", "Free", "Async", "Record", "Launch", "BeginCapture"))
        value = () if empty else (self.given.get(name, 64),)
        return lambda *_: (self.cudaError_t.cudaSuccess, *value)


class Gpu(Air):
    """A CUDA runtime whose device memory is this process's, and whose clock advances with each inference.

    Attributes:
        ms: the clock, in milliseconds.
    """

    given: ClassVar = Air.given | {"cudaStreamCreateWithFlags": 64}

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._held: dict[int, Any] = {}
        self._events: dict[int, float] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._capture: list[Work] | None = None
        self._dice = random.Random(0)
        self.ms = 0.0

    def __getattr__(self, name: str) -> Any:
        """Any other function returns its value in `given`, or just success."""
        results = (self.given[name],) if name in self.given else ()
        return lambda *_: (self.cudaError_t.cudaSuccess, *results)

    def _ok(self, *results: Any) -> tuple[Any, ...]:
        return (self.cudaError_t.cudaSuccess, *results)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:  # noqa: N802
        """Allocate zeroed memory of this process."""
        block = ctypes.create_string_buffer(size)
        self._held[ctypes.addressof(block)] = block
        return self._ok(ctypes.addressof(block))

    def cudaFree(self, place: int) -> tuple[Any, ...]:  # noqa: N802
        """Free memory of `cudaMalloc`."""
        self._held.pop(place, None)  # callers pass 0 just to create a context
        return self._ok()

    def cudaMemcpyAsync(self, there: int, here: int, size: int, *_: Any) -> tuple[Any, ...]:  # noqa: N802
        """Copy at once; the stream is ignored."""
        ctypes.memmove(there, here, size)
        return self._ok()

    def cudaEventCreate(self) -> tuple[Any, ...]:  # noqa: N802
        """Return a new event, which is a number."""
        return self._ok(next(self._numbers))

    def cudaEventRecord(self, event: int, _: Any) -> tuple[Any, ...]:  # noqa: N802
        """Note the clock."""
        self._events[event] = self.ms
        return self._ok()

    def cudaEventElapsedTime(self, begin: int, end: int) -> tuple[Any, ...]:  # noqa: N802
        """Milliseconds between two events."""
        return self._ok(max(1e-3, self._events[end] - self._events[begin]))

    def cudaStreamBeginCapture(self, *_: Any) -> tuple[Any, ...]:  # noqa: N802
        """From now on, record inferences instead of running them."""
        self._capture = []
        return self._ok()

    def cudaStreamEndCapture(self, _: Any) -> tuple[Any, ...]:  # noqa: N802
        """Return the recorded inferences as a graph, which is a number."""
        number, noted = next(self._numbers), self._capture
        self._graphs[number], self._capture = noted or [], None
        return self._ok(number)

    def cudaGraphInstantiate(self, graph: int, _: Any) -> tuple[Any, ...]:  # noqa: N802
        """Return the graph itself, which needs no instantiation."""
        return self._ok(graph)

    def cudaGraphLaunch(self, graph: int, _: Any) -> tuple[Any, ...]:  # noqa: N802
        """Run the inferences of a graph."""
        for noted in self._graphs[graph]:
            self.enqueue(noted)
        return self._ok()

    def enqueue(self, what: Work) -> None:
        """Run a context on its buffers and advance the clock, or record it during a capture."""
        if self._capture is not None:
            self._capture.append(what)
            return
        what.compute()
        self.ms += what.ms * self._dice.uniform(0.99, 1.01)


class Driver:
    """The same GPU with the interface of the agent's driver."""

    def __init__(self, gpu: Gpu, ordinal: int) -> None:
        self.gpu, self.ordinal = gpu, ordinal

    def facts(self) -> dict[str, Any]:
        """Facts of an invented GPU."""
        return {"name": "air", "major": 8, "minor": 9, "driver": "13.0", "integrated": False}

    def memory(self, size: int) -> int:
        """Allocate zeroed memory."""
        return int(self.gpu.cudaMalloc(max(size, 1))[1])

    def free(self, place: int) -> None:
        """Free memory of `memory`."""
        self.gpu.cudaFree(place)

    def upload(self, place: int, array: Any) -> None:
        """Copy an array to the device at once."""
        ctypes.memmove(place, array.ctypes.data, array.nbytes)

    def download(self, array: Any, place: int) -> None:
        """Copy device memory to an array at once."""
        ctypes.memmove(array.ctypes.data, place, array.nbytes)


class Stream:
    """A stream of the same GPU, with the interface of the agent's."""

    pointer = 64

    def __init__(self, driver: Driver) -> None:
        self._gpu, self._begin = driver.gpu, 0.0
        self._graph: int | None = None

    @property
    def is_captured(self) -> bool:
        """Whether a graph was captured."""
        return self._graph is not None

    def synchronize(self) -> None:
        """Nothing to wait for: all work runs at once."""

    def start(self) -> None:
        """Start timing."""
        self._begin = self._gpu.ms

    def stop(self) -> float:
        """Milliseconds since `start`."""
        return max(1e-3, self._gpu.ms - self._begin)

    def capture(self, work: Any) -> None:
        """Capture what `work` enqueues as a graph."""
        self._gpu.cudaStreamBeginCapture()
        work()
        self._graph = self._gpu.cudaStreamEndCapture(0)[1]

    def launch(self) -> None:
        """Run the captured graph."""
        self._gpu.cudaGraphLaunch(self._graph or 0, 0)

    def forget(self) -> None:
        """Drop the captured graph."""
        self._graph = None

    def close(self) -> None:
        """Nothing to release."""
