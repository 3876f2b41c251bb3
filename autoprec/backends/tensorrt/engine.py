"""A plan loaded on a GPU: its buffers, its stream, its CUDA graphs, and the times of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from autoprec.backends._base import Arrays, as_float32
from autoprec.backends.tensorrt import cuda
from autoprec.backends.tensorrt.build import Plan
from autoprec.backends.tensorrt.cuda import Buffers, Device, EventTimer, Stream
from autoprec.backends.tensorrt.kernel_cache import KernelCache
from autoprec.backends.tensorrt.layers import kernels_of, layers_from_json
from autoprec.backends.tensorrt.library import Library
from autoprec.backends.tensorrt.options import Options
from autoprec.errors import TrialError
from autoprec.records import KernelTime

_DTYPES: Mapping[str, Any] = {
    "FLOAT": np.float32, "HALF": np.float16, "BF16": ml_dtypes.bfloat16, "FP8": ml_dtypes.float8_e4m3fn,
    "INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_,
}  # fmt: skip
_MOST_SETS = 64
_LOST: list[TensorRTEngine] = []
"""Engines of a CUDA context that died: destroying them ends the process before the fault is told."""


class TensorRTEngine:
    """An engine on the current GPU.

    Args:
        device: the GPU, for the size of its L2 cache.
        cache: compiled kernels, for a library that compiles them when it loads.
        profiled: measure every layer; slows `execute` down.

    Raises `TrialError("run", ...)` if the plan does not load or gets no execution context here.
    """

    _runtime: Any = None
    _engine: Any = None
    _context: Any = None

    def __init__(
        self,
        library: Library,
        options: Options,
        plan: Plan,
        device: Device,
        *,
        cache: KernelCache | None = None,
        profiled: bool = False,
    ) -> None:
        self._library, self._options, self._device, self._cache = library, options, device, cache
        self._layers = plan.layers
        self.engine_bytes = len(plan.data)
        self._sets: list[Buffers] = []
        self._graphs: list[Any] = []
        self._turn = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._is_warm = False
        self._times_ms: dict[str, float] = {}
        self.stream = Stream()
        self._timer = EventTimer(self.stream)
        try:
            self._load(plan.data)
        except TrialError:
            self.close()
            raise
        self.device_memory_bytes = self._held_bytes()
        trt = library.trt
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        is_input = {n: self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT for n in names}
        self._dtypes = {name: np.dtype(_DTYPES[self._engine.get_tensor_dtype(name).name]) for name in names}
        self._inputs = [name for name in names if is_input[name]]
        self._outputs = [name for name in names if not is_input[name]]
        self._profiler = self._attach_profiler() if profiled else None

    def prepare(self, inputs: Arrays) -> None:
        """Place inputs on the device and bind the outputs.

        Raises `TrialError("run", ...)` for an input that is missing or does not fit.
        """
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise TrialError(
                "run", f"input {missing[0]!r} is missing; the inputs are {', '.join(self._inputs)}"
            )
        arrays = {name: self._fitting(name, inputs[name]) for name in self._inputs}
        for name, array in arrays.items():
            if not self._context.set_input_shape(name, array.shape):
                raise TrialError("run", f"input {name!r} does not take shape {array.shape}: {self._why()}")
        shapes = {name: self._shape_of(name) for name in (*self._inputs, *self._outputs)}
        for name, shape in shapes.items():
            if min(shape, default=0) < 0:
                raise TrialError("run", f"{name!r} has a shape that depends on data, {shape}; make it static")
        sizes = {name: int(np.prod(shape)) * self._dtypes[name].itemsize for name, shape in shapes.items()}
        self._resize_sets(sum(sizes.values()))
        for buffers in self._sets:
            for name, size in sizes.items():
                buffers.reserve(name, size)
            for name, array in arrays.items():
                self.stream.upload(buffers[name], array)
        self.stream.synchronize()
        self.device_memory_bytes = self._held_bytes()
        self._turn = 0
        if shapes != self._shapes:
            self._forget_graphs()
            self._shapes = shapes
        self._bind(self._sets[0])

    def execute(self) -> None:
        """Put one inference on the stream; as a CUDA graph from the second of a shape on, if so wanted.

        Raises `TrialError("run", ...)`.
        """
        assert self._sets, "execute needs prepare"
        self._turn = (self._turn + 1) % len(self._sets)
        if self._options.cuda_graph and self._is_warm and not self._graphs:
            self._graphs = [self._recorded(buffers) for buffers in self._sets]
        if self._graphs:
            self.stream.launch(self._graphs[self._turn])
            return
        if len(self._sets) > 1:
            self._bind(self._sets[self._turn])
        self._enqueue()
        self._is_warm = True

    def synchronize(self) -> None:
        """Wait for the stream. Raises `TrialError` for a fault of a kernel."""
        self.stream.synchronize()

    def start_timer(self) -> None:
        """Put a CUDA event on the stream; see `stop_timer`."""
        self._timer.start()

    def stop_timer(self) -> float:
        """Milliseconds on the GPU since `start_timer`, once all of it is done."""
        return self._timer.stop()

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the outputs of the last `execute`; low-precision floats as float32."""
        buffers = self._sets[self._turn]
        arrays = {name: np.empty(self._shape_of(name), self._dtypes[name]) for name in self._outputs}
        for name, array in arrays.items():
            self.stream.download(array, buffers[name])
        self.stream.synchronize()
        return {name: as_float32(array) for name, array in arrays.items()}

    def kernels(self) -> tuple[KernelTime, ...]:
        """Every layer; times from the last `execute` if profiled."""
        layers = self._layers
        if not layers:
            inspector = self._engine.create_engine_inspector()
            inspector.execution_context = self._context
            layers = layers_from_json(
                inspector.get_engine_information(self._library.trt.LayerInformationFormat.JSON)
            )
        return kernels_of(layers, self._times_ms)

    def close(self) -> None:
        """Free everything on the device, and keep what was compiled in the runtime cache."""
        if self._runtime is None:
            return
        if not cuda.is_usable():
            _LOST.append(self)
            return
        self._forget_graphs()
        if self._cache is not None:
            self._cache.engine_closed()
        # In this order: a context needs its engine, an engine its runtime.
        self._context = None
        self._engine = None
        self._runtime = None
        while self._sets:
            self._sets.pop().close()
        self._timer.close()
        self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, data: bytes) -> None:
        with self._library.log.fresh() as log:
            self._runtime = self._library.trt.Runtime(log.sink)
            self._engine = self._runtime.deserialize_cuda_engine(data)
            if self._engine is None:
                raise TrialError("run", f"the engine does not load on {self._device.name}: {self._why()}")
            self._context = self._create_context()
            if self._context is None:
                raise TrialError(
                    "run", f"the engine builds, but does not run on {self._device.name}: {self._why()}"
                )

    def _held_bytes(self) -> int:
        """Weights, activations with workspace, and inputs and outputs on the device."""
        weights = self.engine_bytes
        if hasattr(self._engine, "get_engine_stat"):
            weights = self._engine.get_engine_stat(self._library.trt.EngineStat.TOTAL_WEIGHTS_SIZE)
        return int(weights + self._engine.device_memory_size_v2 + sum(b.bytes_held for b in self._sets))

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))

    def _why(self) -> str:
        return self._library.log.first_error("the library gives no reason")

    def _create_context(self) -> Any:
        """An execution context; None where there is none on this GPU."""
        if not self._library.caches_kernels:
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        # LAZY would compile in the background while the engine is timed.
        config.dynamic_shapes_kernel_specialization_strategy = (
            self._library.trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        if self._cache is not None:
            self._cache.attach(config)
        return self._engine.create_execution_context(config)

    def _attach_profiler(self) -> Any:
        times = self._times_ms
        base = self._library.trt.IProfiler

        class Profiler(base):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                base.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times[layer_name] = ms

        profiler = Profiler()  # the context keeps no reference of its own
        self._context.profiler = profiler
        return profiler

    def _fitting(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """The input as the engine's type, contiguous."""
        wanted = tuple(self._engine.get_tensor_shape(name))
        if len(wanted) != value.ndim or any(
            w not in (-1, s) for w, s in zip(wanted, value.shape, strict=True)
        ):
            raise TrialError("run", f"input {name!r} has shape {value.shape}, but the engine takes {wanted}")
        return np.require(value, self._dtypes[name], "C")

    def _resize_sets(self, bytes_of_one: int) -> None:
        """As many sets of buffers as the study wants: one, or enough to overflow the L2 cache twice."""
        wanted = 1
        if self._options.rotate_buffers:
            wanted = min(_MOST_SETS, 1 + 2 * self._device.l2_bytes // max(bytes_of_one, 1))
        while len(self._sets) > wanted:
            self._sets.pop().close()
        self._sets.extend(Buffers() for _ in range(wanted - len(self._sets)))

    def _bind(self, buffers: Buffers) -> None:
        for name in (*self._inputs, *self._outputs):
            self._context.set_tensor_address(name, buffers[name])

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self.stream.pointer):
            raise TrialError("run", f"the inference does not start: {self._why()}")

    def _recorded(self, buffers: Buffers) -> Any:
        """A CUDA graph of one inference; not the first one of a shape, which compiles kernels."""
        self._bind(buffers)
        return self.stream.capture(self._enqueue)

    def _forget_graphs(self) -> None:
        self._is_warm = False
        for graph in self._graphs:
            self.stream.forget(graph)
        self._graphs.clear()
