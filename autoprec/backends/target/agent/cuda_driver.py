"""The few calls of CUDA's driver that running an engine needs, through ctypes: a target has it.

TensorRT computes in the device's primary context, so that one is made current.
"""

from __future__ import annotations

import ctypes
from typing import Any, Dict

_DEVICE = {"clock_khz": 13, "major": 75, "minor": 76, "integrated": 18}
_RELAXED = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


class CudaError(Exception):
    """A call failed; `kind` is autoprec's name for the failure."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Driver:
    """The primary context of one GPU, current in this thread. Raises `CudaError` without driver or GPU."""

    def __init__(self, ordinal: int) -> None:
        try:
            self._cuda = ctypes.CDLL("libcuda.so.1")  # type: Any
        except OSError as error:
            raise CudaError("missing", f"no NVIDIA driver on the target: {error}") from error
        self.call("cuInit", 0)
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), ordinal)
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self._device = device

    def call(self, name: str, *arguments: Any) -> None:
        """One call of the driver; results are written where its arguments point. Raises `CudaError`."""
        code = getattr(self._cuda, name)(*arguments)
        if code:
            words = ctypes.c_char_p()
            self._cuda.cuGetErrorString(code, ctypes.byref(words))
            told = words.value.decode() if words.value else f"error {code}"
            # 2 is out of memory. After an invalid value (1) or a refused capture (900s) the context still
            # works; after any other error only a new process helps.
            kind = "memory" if code == 2 else "run" if code in (1, 900, 901, 905) else "crash"
            raise CudaError(kind, f"{name}: {told}")

    def facts(self) -> Dict[str, Any]:
        """Name, compute capability and driver of the GPU."""
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, 256, self._device)
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        return {
            "name": name.value.decode(),
            "major": self._attribute("major"),
            "minor": self._attribute("minor"),
            "driver": f"{version.value // 1000}.{version.value % 1000 // 10}",
            "integrated": bool(self._attribute("integrated")),
        }

    def _attribute(self, name: str) -> int:
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), _DEVICE[name], self._device)
        return value.value

    def memory(self, size: int) -> int:
        """Allocate `size` bytes of device memory; returns the address."""
        address = ctypes.c_uint64()
        # An empty tensor needs an address, too, and no memory of 0 bytes is given.
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self.call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, address: int, array: Any) -> None:
        """Copy a contiguous array to the device."""
        source = ctypes.c_void_p(array.ctypes.data)
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), source, ctypes.c_size_t(array.nbytes))

    def download(self, array: Any, address: int) -> None:
        """Fill a contiguous array from the device."""
        target = ctypes.c_void_p(array.ctypes.data)
        self.call("cuMemcpyDtoH_v2", target, ctypes.c_uint64(address), ctypes.c_size_t(array.nbytes))


class DriverStream:
    """A stream with a pair of events for timing, and the graph that was captured on it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.handle = ctypes.c_void_p()
        driver.call("cuStreamCreate", ctypes.byref(self.handle), 1)  # does not wait for the default one
        self._begin, self._end = ctypes.c_void_p(), ctypes.c_void_p()
        for event in (self._begin, self._end):
            driver.call("cuEventCreate", ctypes.byref(event), 0)
        self._graph = None  # type: Any

    @property
    def pointer(self) -> int:
        """The stream as TensorRT takes it."""
        return self.handle.value or 0

    def synchronize(self) -> None:
        """Wait for all that was put on it."""
        self._driver.call("cuStreamSynchronize", self.handle)

    def start(self) -> None:
        """Put the first event on it."""
        self._driver.call("cuEventRecord", self._begin, self.handle)

    def stop(self) -> float:
        """Put the second event on it, wait, and give the milliseconds between the two."""
        self._driver.call("cuEventRecord", self._end, self.handle)
        self._driver.call("cuEventSynchronize", self._end)
        milliseconds = ctypes.c_float()
        self._driver.call("cuEventElapsedTime", ctypes.byref(milliseconds), self._begin, self._end)
        return milliseconds.value

    def capture(self, work: Any) -> None:
        """Record what `work` puts on it; `launch` replays it."""
        self._driver.call("cuStreamBeginCapture_v2", self.handle, _RELAXED)
        graph = ctypes.c_void_p()
        try:
            work()
        finally:
            self._driver.call("cuStreamEndCapture", self.handle, ctypes.byref(graph))
        executable = ctypes.c_void_p()
        # Not `cuGraphInstantiate`: that took other parameters before CUDA 12.
        self._driver.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_uint64(0))
        self._driver.call("cuGraphDestroy", graph)
        self._graph = executable

    @property
    def is_captured(self) -> bool:
        """Whether there is a graph to launch."""
        return self._graph is not None

    def launch(self) -> None:
        """Put the captured graph on it."""
        self._driver.call("cuGraphLaunch", self._graph, self.handle)

    def forget(self) -> None:
        """Drop the captured graph, whose addresses are no longer valid."""
        if self._graph is not None:
            self._driver.call("cuGraphExecDestroy", self._graph)
        self._graph = None

    def close(self) -> None:
        """Free stream, events and graph."""
        self.forget()
        for event in (self._begin, self._end):
            self._driver.call("cuEventDestroy_v2", event)
        self._driver.call("cuStreamDestroy_v2", self.handle)
