"""A plan loaded on a GPU: its buffers, its stream, its CUDA graphs, and the times of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprec.backends._base import Arrays, as_float32
from autoprec.backends.tensorrt import cuda
from autoprec.backends.tensorrt.build import BuiltPlan
from autoprec.backends.tensorrt.cuda import Buffers, CudaDevice, EventTimer, Stream
from autoprec.backends.tensorrt.kernel_cache import KernelCache
from autoprec.backends.tensorrt.layers import inspected_layers, kernels_of
from autoprec.backends.tensorrt.library import Library
from autoprec.backends.tensorrt.options import Options
from autoprec.backends.tensorrt.profile import Profile
from autoprec.backends.tensorrt.tensors import engine_bytes, tensors_of
from autoprec.closing import Closing
from autoprec.errors import AutoprecError, TrialError
from autoprec.records import KernelTime

_MOST_SETS = 64
_LOST: list[TensorRTEngine] = []
"""Engines of a CUDA context that died: destroying them ends the process before the fault is reported."""


class TensorRTEngine(Closing):
    """An engine on the current GPU.

    Args:
        library: the loaded TensorRT.
        options: of the definition.
        plan: what `build_plan` made.
        device: the GPU, for the size of its L2 cache.
        cache: compiled kernels, for a library that compiles them when it loads.
        profiled: measure every layer; slows `execute` down.
        is_timed: whether `execute` must be as fast as it can be.

    Raises `TrialError("run", ...)` if the plan does not load or gets no execution context here.
    """

    _is_open = True
    _runtime: Any = None
    _engine: Any = None
    _context: Any = None

    def __init__(
        self,
        library: Library,
        options: Options,
        plan: BuiltPlan,
        device: CudaDevice,
        *,
        cache: KernelCache | None = None,
        profiled: bool = False,
        is_timed: bool = True,
    ) -> None:
        self._library, self._options, self._device, self._cache = library, options, device, cache
        self._layers = plan.layers
        self.engine_bytes = len(plan.data)
        self._sets: list[Buffers] = []
        self._graphs: list[Any] = []
        self._turn = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._is_warm = False
        self._is_timed = is_timed
        self._wants_graphs = options.cuda_graph and is_timed and not profiled
        self._profile: Profile | None = None
        self.stream = Stream()
        self._timer = EventTimer(self.stream)
        try:
            with library.asking("run", f"the engine does not load on {device.name}"):
                self._load(plan.data)
                tensors = tensors_of(library, self._engine)
                self._inputs, self._outputs, self._dtypes = tensors.inputs, tensors.outputs, tensors.dtypes
                self._own_bytes = engine_bytes(library, self._engine, len(plan.data))
                self.device_memory_bytes = self._held_bytes()
                if profiled:
                    self._profile = Profile(library, self._context)
        except AutoprecError:
            # No `with` block has begun, so nobody else will.
            self.close()
            raise

    def prepare(self, inputs: Arrays) -> None:
        """Place inputs on the device and bind the outputs.

        Raises `TrialError("run", ...)` for an input that is missing or does not fit.
        """
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise TrialError(
                "run", f"input {missing[0]!r} is missing; the inputs are {', '.join(self._inputs)}"
            )
        with self._library.asking("run", "the engine does not take its inputs"):
            arrays = {name: self._fitting(name, inputs[name]) for name in self._inputs}
            for name, array in arrays.items():
                taken = self._context.set_input_shape(name, array.shape)
                self._given(taken, f"input {name!r} does not take shape {array.shape}")
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
        # The copies are done before anything is timed.
        self.stream.synchronize()
        self.device_memory_bytes = self._held_bytes()
        self._turn = 0
        # A graph was recorded with the addresses and sizes of the old buffers.
        if shapes != self._shapes:
            self._forget_graphs()
            self._shapes = shapes
        self._bind(self._sets[0])

    def execute(self) -> None:
        """Put one inference on the stream; as a CUDA graph from the second of a shape on, if so wanted.

        Not if profiled: a graph reports nothing.

        Raises `TrialError("run", ...)`.
        """
        assert self._sets, "execute needs prepare"
        self._turn = (self._turn + 1) % len(self._sets)
        if self._wants_graphs and self._is_warm and not self._graphs:
            self._record_graphs()
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
        """Every layer; if profiled, with the means of inferences that are run for it, after a first one.

        None where the library does not describe the engine: then it is not known what it ran in.
        """
        layers = self._layers or inspected_layers(self._library, self._engine, self._context)
        times: Mapping[str, float] = {}
        if self._profile is not None and self._is_warm:
            times = self._profile.times_ms(self._enqueue, self.synchronize)
        return kernels_of(layers, times)

    def close(self) -> None:
        """Free everything on the device, and keep what was compiled in the runtime cache."""
        if not self._is_open:
            return
        self._is_open = False
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

    def _load(self, data: bytes) -> None:
        self._runtime = self._library.start("Runtime")
        engine = self._runtime.deserialize_cuda_engine(data)
        self._engine = self._given(engine, f"the engine does not load on {self._device.name}")
        context = self._create_context()
        self._context = self._given(context, f"the engine builds, but does not run on {self._device.name}")

    def _held_bytes(self) -> int:
        """Weights, activations with workspace, and inputs and outputs on the device."""
        return self._own_bytes + sum(buffers.bytes_held for buffers in self._sets)

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))

    def _given(self, value: Any, what: str) -> Any:
        return self._library.given(value, "run", what)

    def _create_context(self) -> Any:
        """An execution context; None where there is none on this GPU."""
        if not self._library.caches_kernels:
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        ways = self._library.trt.DynamicShapesKernelSpecializationStrategy
        # LAZY would compile in the background while an engine is timed; NONE never does for a new shape.
        config.dynamic_shapes_kernel_specialization_strategy = ways.EAGER if self._is_timed else ways.NONE
        if self._cache is not None:
            with self._library.log.aside():
                self._cache.attach(config)
        return self._engine.create_execution_context(config)

    def _fitting(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """The input as the engine's type, contiguous."""
        wanted = tuple(self._engine.get_tensor_shape(name))
        if len(wanted) != value.ndim or any(
            w not in (-1, s) for w, s in zip(wanted, value.shape, strict=True)
        ):
            raise TrialError("run", f"input {name!r} has shape {value.shape}, but the engine takes {wanted}")
        return np.require(value, self._dtypes[name], "C")

    def _resize_sets(self, bytes_of_one: int) -> None:
        """Resize to as many sets of buffers as are wanted: one, or enough to overflow the L2 cache twice."""
        wanted = 1
        if self._options.rotate_buffers:
            wanted = min(_MOST_SETS, 1 + 2 * self._device.l2_bytes // max(bytes_of_one, 1))
        while len(self._sets) > wanted:
            self._sets.pop().close()
        self._sets.extend(Buffers() for _ in range(wanted - len(self._sets)))

    def _bind(self, buffers: Buffers) -> None:
        with self._library.asking("run", "the engine does not take its buffers"):
            for name in (*self._inputs, *self._outputs):
                taken = self._context.set_tensor_address(name, buffers[name])
                self._given(taken, f"{name!r} does not take its memory")

    def _enqueue(self) -> None:
        with self._library.asking("run", "the inference does not start"):
            started = self._context.execute_async_v3(self.stream.pointer)
            self._given(started, "the inference does not start")

    def _record_graphs(self) -> None:
        """A CUDA graph of one inference for each set; not the first one of a shape, which compiles kernels.

        An engine that no graph can hold, as one with a loop, runs without.
        """
        try:
            for buffers in self._sets:
                self._bind(buffers)
                self._graphs.append(self.stream.capture(self._enqueue))
        except TrialError as error:
            if error.kind != "run":
                raise
            self._forget_graphs()
            self._is_warm, self._wants_graphs = True, False
            self._bind(self._sets[self._turn])

    def _forget_graphs(self) -> None:
        self._is_warm = False
        for graph in self._graphs:
            self.stream.forget(graph)
        self._graphs.clear()
