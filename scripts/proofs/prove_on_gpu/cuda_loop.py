"""An engine timed by hand on a GPU, with stream, buffers, graph and events of its own.

It shares nothing with autoprec's stopwatch and engine except the build and the logger, since TensorRT keeps
the first logger of a process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cuda.bindings.runtime as cudart
import numpy as np


class Loop:
    """Times one plan, whose kernels are compiled anew."""

    def __init__(self, backend: Any, path: Path, inputs: dict[str, np.ndarray]) -> None:
        library = backend.library
        trt = library.trt
        self._runtime = trt.Runtime(library.log.sink)
        self._engine = self._runtime.deserialize_cuda_engine(backend.build_plan(path).data)
        self._context = self._engine.create_execution_context()
        self._stream = self._call("cudaStreamCreate")
        for number in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(number)
            shape = tuple(self._engine.get_tensor_shape(name))
            array = inputs.get(name, np.zeros(shape, np.float32))
            address = self._call("cudaMalloc", array.nbytes)
            kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._call("cudaMemcpy", address, array.ctypes.data, array.nbytes, kind)
            self._context.set_tensor_address(name, int(address))
        self._begin, self._end = self._call("cudaEventCreate"), self._call("cudaEventCreate")
        # Before the capture: the first runs compile kernels, which a capture would not record.
        for _ in range(3):
            self._enqueue()
        self._call("cudaStreamSynchronize", self._stream)
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        self._enqueue()
        graph = self._call("cudaStreamEndCapture", self._stream)
        self._graph = self._call("cudaGraphInstantiate", graph, 0)

    def milliseconds(self, repeats: int) -> float:
        """Mean milliseconds of `repeats` inferences between two events, after an unmeasured one."""
        self._call("cudaGraphLaunch", self._graph, self._stream)
        self._call("cudaEventRecord", self._begin, self._stream)
        for _ in range(repeats):
            self._call("cudaGraphLaunch", self._graph, self._stream)
        self._call("cudaEventRecord", self._end, self._stream)
        self._call("cudaEventSynchronize", self._end)
        return float(self._call("cudaEventElapsedTime", self._begin, self._end)) / repeats

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise RuntimeError("execute_async_v3 returned False")

    def _call(self, function: str, *arguments: Any) -> Any:
        status, *values = getattr(cudart, function)(*arguments)
        if int(status):
            raise RuntimeError(f"{function}: {status}")
        return values[0] if values else None
