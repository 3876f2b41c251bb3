"""Calls each method of the adapter once, so that the stub library knows the method by its vtable slot."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorrt as trt
from hollow import Hollow


class _Log(trt.ILogger):  # type: ignore[misc]
    def __init__(self) -> None:
        trt.ILogger.__init__(self)

    def log(self, severity: Any, msg: str) -> None:
        """Nothing is kept."""


class _Profiler(trt.IProfiler):  # type: ignore[misc]
    def __init__(self) -> None:
        trt.IProfiler.__init__(self)

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Nothing is kept."""


def learn(hollow: Hollow) -> None:
    """Teach the library every method.

    Raises:
        AssertionError: a method calls nothing of the library.
    """
    log = _Log()
    builder = trt.Builder(log)
    network = hollow.learn("Builder.create_network", lambda: builder.create_network(1), "INetworkDefinition")
    config = hollow.learn("Builder.create_builder_config", builder.create_builder_config, "IBuilderConfig")
    built = hollow.learn(
        "Builder.build_serialized_network",
        lambda: builder.build_serialized_network(network, config),
        "IHostMemory",
    )
    _learn_parser(hollow, trt.OnnxParser(network, log), network)
    _learn_config(hollow, config)
    hollow.learn("IHostMemory.nbytes", lambda: built.nbytes)
    hollow.learn("IHostMemory.dtype", lambda: built.dtype, int(trt.DataType.INT8))
    hollow.learn("IHostMemory.data", lambda: bytes(built))
    runtime = trt.Runtime(log)
    engine = hollow.learn(
        "Runtime.deserialize_cuda_engine", lambda: runtime.deserialize_cuda_engine(b"plan"), "ICudaEngine"
    )
    _learn_engine(hollow, engine)


def _learn_parser(hollow: Hollow, parser: Any, network: Any) -> None:
    hollow.learn("OnnxParser.parse_from_file", lambda: parser.parse_from_file("model.onnx"))
    hollow.learn("OnnxParser.num_errors", lambda: parser.num_errors)
    hollow.learn("INetworkDefinition.num_inputs", lambda: network.num_inputs, 1)
    tensor = hollow.learn("INetworkDefinition.get_input", lambda: network.get_input(0), "ITensor")
    hollow.learn("ITensor.name", lambda: tensor.name, "x")
    hollow.learn("ITensor.shape", lambda: tensor.shape, (1, 4))


def _learn_config(hollow: Hollow, config: Any) -> None:
    detailed, tf32 = trt.ProfilingVerbosity.DETAILED, trt.BuilderFlag.TF32
    hollow.learn(
        "IBuilderConfig.profiling_verbosity=", lambda: setattr(config, "profiling_verbosity", detailed)
    )
    hollow.learn("IBuilderConfig.set_flag", lambda: config.set_flag(tf32))
    cache = hollow.learn(
        "IBuilderConfig.create_timing_cache", lambda: config.create_timing_cache(b""), "ITimingCache"
    )
    hollow.learn("IBuilderConfig.set_timing_cache", lambda: config.set_timing_cache(cache, False))
    hollow.learn("IBuilderConfig.get_timing_cache", config.get_timing_cache, "ITimingCache")
    hollow.learn("ITimingCache.combine", lambda: cache.combine(cache, False))
    hollow.learn("ITimingCache.serialize", cache.serialize, "IHostMemory")


def _learn_engine(hollow: Hollow, engine: Any) -> None:
    for name in ("num_io_tensors", "device_memory_size_v2"):
        hollow.learn(f"ICudaEngine.{name}", partial(getattr, engine, name))
    hollow.learn("ICudaEngine.get_tensor_name", lambda: engine.get_tensor_name(0), "x")
    for name in ("mode", "location", "dtype", "shape"):
        ask, gives = getattr(engine, f"get_tensor_{name}"), (1,) if name == "shape" else 0
        hollow.learn(f"ICudaEngine.get_tensor_{name}", partial(ask, "x"), gives)
    if hasattr(engine, "get_engine_stat"):
        total = trt.EngineStat.TOTAL_WEIGHTS_SIZE
        hollow.learn("ICudaEngine.get_engine_stat", lambda: engine.get_engine_stat(total))
    context = hollow.learn(
        "ICudaEngine.create_execution_context", engine.create_execution_context, "IExecutionContext"
    )
    inspector = hollow.learn(
        "ICudaEngine.create_engine_inspector", engine.create_engine_inspector, "EngineInspector"
    )
    told = trt.LayerInformationFormat.JSON
    hollow.learn(
        "EngineInspector.execution_context=", lambda: setattr(inspector, "execution_context", context)
    )
    hollow.learn(
        "EngineInspector.get_engine_information", lambda: inspector.get_engine_information(told), "{}"
    )
    hollow.learn("IExecutionContext.set_input_shape", lambda: context.set_input_shape("x", (1,)))
    hollow.learn("IExecutionContext.get_tensor_shape", lambda: context.get_tensor_shape("x"), (1,))
    hollow.learn("IExecutionContext.set_tensor_address", lambda: context.set_tensor_address("x", 64))
    hollow.learn("IExecutionContext.execute_async_v3", lambda: context.execute_async_v3(64))
    profiler = _Profiler()
    hollow.learn("IExecutionContext.profiler=", lambda: setattr(context, "profiler", profiler))
    hollow.learn(
        "IExecutionContext.enqueue_emits_profile=", lambda: setattr(context, "enqueue_emits_profile", False)
    )
    hollow.learn("IExecutionContext.report_to_profiler", context.report_to_profiler)
