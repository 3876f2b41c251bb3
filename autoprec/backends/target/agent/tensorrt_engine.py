"""TensorRT 8.5 to 11, and TensorRT-RTX, on a target's GPU, through their own bindings.

Builds, loads and runs as `autoprec.backends.tensorrt` does beside a search, with nothing but numpy.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from autoprec.backends.target.agent.cuda_driver import CudaError, Driver, DriverStream
from autoprec.backends.target.agent.tensorrt_library import (
    import_tensorrt,
    make_log,
    make_profiler,
    parser_words,
)
from autoprec.backends.target.agent.weak_network import is_weak, obey

_DTYPES = {
    "FLOAT": np.float32, "HALF": np.float16, "BF16": np.uint16, "INT8": np.int8, "UINT8": np.uint8,
    "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_,
}  # type: Dict[str, Any]  # fmt: skip


class TensorRTBuilder:
    """Builds engines; `options` as in `[backend.options]`, and the folder keeps kernel timings."""

    def __init__(self, options: Dict[str, Any], folder: Path) -> None:
        self.trt = import_tensorrt(str(options.get("library", "")))
        self.is_rtx = self.trt.__name__.startswith("tensorrt_rtx")
        self.is_weak = is_weak(self.trt)
        self.options = options
        self.log = make_log(self.trt)
        self.driver = Driver(int(options.get("device", 0)))
        self._gpu = self.driver.facts()
        name = "{}-{}.cache".format("rtx" if self.is_rtx else "trt", self.trt.__version__)
        self._timings = folder / name
        self._kernels = None  # type: Any
        self._last = None  # type: Any

    def facts(self) -> Dict[str, Any]:
        """Library, version and GPU."""
        gpu = self._gpu
        return {
            "library": "TensorRT-RTX" if self.is_rtx else "TensorRT",
            "version": str(self.trt.__version__),
            "device": "{name} ({major}.{minor}, driver for CUDA {driver})".format(**gpu),
            "capability": [gpu["major"], gpu["minor"]],
            "is_weak": self.is_weak,
        }

    def build(self, path: Path, options: Dict[str, Any]) -> TensorRTExecutable:
        """Parse, build, load; a profile is of the last plan, if that was of the same `parts`. Errors carry
        the first words of the library's log."""
        profiled, version = bool(options.get("profiled")), (options.get("parts"), options.get("layers"))
        last, self._last = self._last, None  # the memory of a small board is for engines
        if profiled and last is not None and last[0] == version:
            return TensorRTExecutable(self, last[1], last[2], profiled)
        del last
        plan, layers = self.plan(path, options), self.log.layers
        if not profiled:
            self._last = version, plan, layers
        return TensorRTExecutable(self, plan, layers, profiled)

    def plan(self, path: Path, options: Dict[str, Any]) -> bytes:
        """An engine's bytes; `options["layers"]` are for a builder that does not keep to a model's types."""
        trt, log = self.trt, self.log
        log.errors.clear()
        log.layers = ""
        builder = self.create("build", trt.Builder, log)
        network = builder.create_network(self._network_flags())
        parser = self.create("build", trt.OnnxParser, network, log)
        if not parser.parse_from_file(str(path)):
            raise CudaError("build", parser_words(parser) or log.words("the parser gives no reason"))
        config = builder.create_builder_config()
        self._configure(config)
        if self.is_weak:
            obey(trt, network, config, options.get("layers", []))
        timed = not hasattr(trt.IBuilderConfig, "set_compute_capability")  # RTX times nothing
        if timed:
            self._use_timings(config)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            words = log.words("the builder gives no reason")
            raise CudaError("memory" if "memory" in words.lower() else "build", words)
        if timed:
            self._keep_timings(config)
        return bytes(plan)

    def _configure(self, config: Any) -> None:
        """The definition's options. Raises ValueError for one that this version does not have."""
        trt, options = self.trt, self.options
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        flag = trt.BuilderFlag.TF32
        (config.set_flag if options.get("tf32", True) else config.clear_flag)(flag)
        if options.get("workspace_mb") is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options["workspace_mb"]) << 20)
        if options.get("optimization_level") is not None:
            if not hasattr(config, "builder_optimization_level"):
                raise ValueError(f"TensorRT {trt.__version__} has no optimization_level")
            config.builder_optimization_level = int(options["optimization_level"])

    def timings(self) -> bytes:
        """What builds have timed; empty before the first, and of TensorRT-RTX, which times nothing."""
        return self._timings.read_bytes() if self._timings.exists() else b""

    def clocks(self) -> Dict[str, Any]:
        """The machine's load."""
        return {"load_average": os.getloadavg()[0]}

    def attach_kernels(self, config: Any) -> None:
        """One cache of compiled kernels for all engines of this process."""
        if self._kernels is None:
            self._kernels = config.create_runtime_cache()
        config.set_runtime_cache(self._kernels)

    def create(self, kind: str, factory: Any, *arguments: Any) -> Any:
        """Call a factory. Its refusal, a TypeError, becomes a `CudaError` with the logged reason."""
        try:
            product = factory(*arguments)
        except TypeError as error:
            raise CudaError(kind, self.log.words(str(error))) from error
        if product is None:
            raise CudaError(kind, self.log.words("the library gives no reason"))
        return product

    def _network_flags(self) -> int:
        members = self.trt.NetworkDefinitionCreationFlag.__members__
        wanted = [members[name] for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if name in members]
        return sum(1 << int(member) for member in wanted)

    def _use_timings(self, config: Any) -> None:
        cache = config.create_timing_cache(self.timings())
        if cache is None or not config.set_timing_cache(cache, False):  # damaged, or of another GPU
            cache = config.create_timing_cache(b"")
            if cache is not None:
                config.set_timing_cache(cache, False)

    def _keep_timings(self, config: Any) -> None:
        cache = config.get_timing_cache()
        if cache is None:
            return
        part = self._timings.with_suffix(".part")
        part.write_bytes(bytes(cache.serialize()))
        part.replace(self._timings)


class TensorRTExecutable:
    """A plan on the GPU, with its buffers and its CUDA graph.

    Args:
        engines: what built it: library, log and driver.
        plan: the engine's bytes.
        layers: what the builder's log says of them.
        profiled: measure every layer; slows `execute` down.
    """

    def __init__(self, engines: TensorRTBuilder, plan: bytes, layers: str, profiled: bool) -> None:
        self._engines, self._layers = engines, layers
        self._driver = engines.driver
        self._stream = DriverStream(self._driver)
        self._graphs_wanted = bool(engines.options.get("cuda_graph", True)) and not profiled
        self.engine_bytes = len(plan)
        trt = engines.trt
        self._runtime = engines.create("run", trt.Runtime, engines.log)
        self._engine = engines.create("run", self._runtime.deserialize_cuda_engine, plan)
        self._context = engines.create("run", self._new_context)
        count = self._engine.num_io_tensors
        names = [self._engine.get_tensor_name(index) for index in range(count)]
        mode = trt.TensorIOMode.INPUT
        self._inputs = [n for n in names if self._engine.get_tensor_mode(n) == mode]
        self._outputs = [n for n in names if self._engine.get_tensor_mode(n) != mode]
        self._buffers = {}  # type: Dict[str, int]
        self._shapes = {}  # type: Dict[str, Any]
        self._times = {}  # type: Dict[str, float]
        self.output_names = self._outputs
        self._profiler = make_profiler(trt, self._times) if profiled else None
        if self._profiler is not None:
            self._context.profiler = self._profiler
        self._warm = False
        self.device_memory_bytes = 0

    def prepare(self, inputs: Dict[str, Any]) -> None:
        """Place inputs on the device and bind all buffers."""
        arrays = {}
        for name in self._inputs:
            if name not in inputs:
                raise CudaError("run", f"input {name!r} is missing")
            kind = self._dtype(name)
            if kind == np.uint16:
                arrays[name] = _as_bf16(inputs[name])
            else:
                arrays[name] = np.require(inputs[name], kind, "C")
            if not self._context.set_input_shape(name, arrays[name].shape):
                words = self._engines.log.words("the library gives no reason")
                raise CudaError("run", f"input {name!r} does not take shape {arrays[name].shape}: {words}")
        shapes = {n: tuple(self._context.get_tensor_shape(n)) for n in (*self._inputs, *self._outputs)}
        if shapes != self._shapes:  # a captured graph holds the addresses of buffers
            self._free()
            for name, shape in shapes.items():
                size = int(np.prod(shape)) * np.dtype(self._dtype(name)).itemsize
                self._buffers[name] = self._driver.memory(size)
                self._context.set_tensor_address(name, self._buffers[name])
            self._shapes = shapes
        for name, array in arrays.items():
            self._driver.upload(self._buffers[name], array)
        names = ("device_memory_size_v2", "device_memory_size")
        size_of = next((getattr(self._engine, name) for name in names if hasattr(self._engine, name)), 0)
        self.device_memory_bytes = int(size_of) + self.engine_bytes

    def execute(self) -> None:
        """One inference; returns when it is done."""
        self._enqueue()
        self._stream.synchronize()

    def milliseconds(self, repeats: int) -> float:
        """The mean of `repeats` inferences, between two events on the stream."""
        self._stream.start()
        for _ in range(repeats):
            self._enqueue()
        return self._stream.stop() / repeats

    def outputs(self) -> List[Any]:
        """The outputs in the engine's order; BF16 as float32."""
        arrays = []
        for name in self._outputs:
            array = np.empty(self._shapes[name], self._dtype(name))
            self._driver.download(array, self._buffers[name])
            if array.dtype == np.uint16:
                array = (array.astype(np.uint32) << 16).view(np.float32)
            arrays.append(array)
        return arrays

    def description(self) -> Dict[str, Any]:
        """The builder's layers, the inspector's JSON, and the times of layers, where there are any."""
        trt = self._engines.trt
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        return {"message": self._layers, "json": text, "times": self._times, "outputs": self._outputs}

    def close(self) -> None:
        """Free everything; a context needs its engine, an engine its runtime."""
        self._context = None
        self._engine = None
        self._runtime = None
        self._free()
        self._stream.close()

    def _enqueue(self) -> None:
        if self._graphs_wanted and self._warm and not self._stream.is_captured:  # the first may allocate
            self._stream.capture(self._launch)
        if self._stream.is_captured:
            self._stream.launch()
            return
        self._launch()
        self._warm = True

    def _launch(self) -> None:
        if not self._context.execute_async_v3(self._stream.pointer):
            words = self._engines.log.words("the library gives no reason")
            raise CudaError("run", f"the inference does not start: {words}")

    def _new_context(self) -> Any:
        trt = self._engines.trt
        strategy = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategy is None or not hasattr(trt.IRuntimeConfig, "create_runtime_cache"):
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        # LAZY would compile kernels in the background, in the middle of a timing.
        config.dynamic_shapes_kernel_specialization_strategy = strategy.EAGER
        self._engines.attach_kernels(config)
        return self._engine.create_execution_context(config)

    def _dtype(self, name: str) -> Any:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise CudaError("run", f"{name!r} has type {kind}, which this agent does not know")
        return _DTYPES[kind]

    def _free(self) -> None:
        for address in self._buffers.values():
            self._driver.free(address)
        self._buffers.clear()
        self._shapes = {}
        self._stream.forget()
        self._warm = False


def _as_bf16(array: Any) -> Any:
    """float32 rounded to BF16's bits, half to even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
