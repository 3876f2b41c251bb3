"""A GPU of air: its memory is this process's, and its clock goes on with each inference."""

from __future__ import annotations

import ctypes
import itertools
import random
from enum import Enum
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol


class Work(Protocol):
    """What can be put on a stream."""

    ms: float

    def compute(self) -> None:
        """Do it."""


class Air:
    """A CUDA runtime and a GPU that do nothing, and say that all went well."""

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
    """A CUDA runtime whose device memory is this process's, and whose clock goes on with each inference."""

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
        """Whatever else is called gives its value, or goes well."""
        results = (self.given[name],) if name in self.given else ()
        return lambda *_: (self.cudaError_t.cudaSuccess, *results)

    def _ok(self, *results: Any) -> tuple[Any, ...]:
        return (self.cudaError_t.cudaSuccess, *results)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:  # noqa: N802
        """Zeros."""
        block = ctypes.create_string_buffer(size)
        self._held[ctypes.addressof(block)] = block
        return self._ok(ctypes.addressof(block))

    def cudaFree(self, place: int) -> tuple[Any, ...]:  # noqa: N802
        """Give them back."""
        self._held.pop(place, None)  # 0 only asks for a context
        return self._ok()

    def cudaMemcpyAsync(self, there: int, here: int, size: int, *_: Any) -> tuple[Any, ...]:  # noqa: N802
        """At once."""
        ctypes.memmove(there, here, size)
        return self._ok()

    def cudaEventCreate(self) -> tuple[Any, ...]:  # noqa: N802
        """A number."""
        return self._ok(next(self._numbers))

    def cudaEventRecord(self, event: int, _: Any) -> tuple[Any, ...]:  # noqa: N802
        """The time now."""
        self._events[event] = self.ms
        return self._ok()

    def cudaEventElapsedTime(self, begin: int, end: int) -> tuple[Any, ...]:  # noqa: N802
        """What passed between them."""
        return self._ok(max(1e-3, self._events[end] - self._events[begin]))

    def cudaStreamBeginCapture(self, *_: Any) -> tuple[Any, ...]:  # noqa: N802
        """From now on inferences are noted."""
        self._capture = []
        return self._ok()

    def cudaStreamEndCapture(self, _: Any) -> tuple[Any, ...]:  # noqa: N802
        """Those that were."""
        number, noted = next(self._numbers), self._capture
        self._graphs[number], self._capture = noted or [], None
        return self._ok(number)

    def cudaGraphInstantiate(self, graph: int, _: Any) -> tuple[Any, ...]:  # noqa: N802
        """The same."""
        return self._ok(graph)

    def cudaGraphLaunch(self, graph: int, _: Any) -> tuple[Any, ...]:  # noqa: N802
        """Do what was noted."""
        for noted in self._graphs[graph]:
            self.enqueue(noted)
        return self._ok()

    def enqueue(self, what: Work) -> None:
        """Run a context on its buffers, or note that."""
        if self._capture is not None:
            self._capture.append(what)
            return
        what.compute()
        self.ms += what.ms * self._dice.uniform(0.99, 1.01)


class Driver:
    """The same GPU as the agent's driver sees it."""

    def __init__(self, gpu: Gpu, ordinal: int) -> None:
        self.gpu, self.ordinal = gpu, ordinal

    def facts(self) -> dict[str, Any]:
        """Of no GPU that there is."""
        return {"name": "air", "major": 8, "minor": 9, "driver": "13.0", "integrated": False}

    def memory(self, size: int) -> int:
        """Zeros."""
        return int(self.gpu.cudaMalloc(max(size, 1))[1])

    def free(self, place: int) -> None:
        """Give them back."""
        self.gpu.cudaFree(place)

    def upload(self, place: int, array: Any) -> None:
        """At once."""
        ctypes.memmove(place, array.ctypes.data, array.nbytes)

    def download(self, array: Any, place: int) -> None:
        """At once."""
        ctypes.memmove(array.ctypes.data, place, array.nbytes)


class Stream:
    """The same stream as the agent sees it."""

    pointer = 64

    def __init__(self, driver: Driver) -> None:
        self._gpu, self._begin = driver.gpu, 0.0
        self._graph: int | None = None

    @property
    def is_captured(self) -> bool:
        """Whether there is a graph."""
        return self._graph is not None

    def synchronize(self) -> None:
        """All is done already."""

    def start(self) -> None:
        """Note the time."""
        self._begin = self._gpu.ms

    def stop(self) -> float:
        """What passed since."""
        return max(1e-3, self._gpu.ms - self._begin)

    def capture(self, work: Any) -> None:
        """Note what is put on it."""
        self._gpu.cudaStreamBeginCapture()
        work()
        self._graph = self._gpu.cudaStreamEndCapture(0)[1]

    def launch(self) -> None:
        """Do what was noted."""
        self._gpu.cudaGraphLaunch(self._graph or 0, 0)

    def forget(self) -> None:
        """Drop it."""
        self._graph = None

    def close(self) -> None:
        """Nothing is held."""
