"""What autoprec uses of TensorRT: in the adapter, in the agent on a target, and through Polygraphy for
`build_polygraphy.py`.

Each member by name, with the parameters that autoprec passes, in order; an empty text for a property, a class
or an enum member. A name that ends in `=` is a property that autoprec sets.
"""

from __future__ import annotations

AGENT = {
    "Builder.__init__": "logger",
    "Builder.create_network": "flags",
    "Builder.create_builder_config": "",
    "Builder.build_serialized_network": "network, config",
    "OnnxParser.__init__": "network, logger",
    "OnnxParser.parse_from_file": "model",
    "OnnxParser.num_errors": "",
    "OnnxParser.get_error": "index",
    "ParserError.desc": "",
    "IBuilderConfig.profiling_verbosity=": "",
    "IBuilderConfig.set_flag": "flag",
    "IBuilderConfig.clear_flag": "flag",
    "IBuilderConfig.set_memory_pool_limit": "pool, pool_size",
    "IBuilderConfig.create_timing_cache": "serialized_timing_cache",
    "IBuilderConfig.set_timing_cache": "cache, ignore_mismatch",
    "IBuilderConfig.get_timing_cache": "",
    "ITimingCache.serialize": "",
    "IHostMemory.nbytes": "",
    "ProfilingVerbosity.DETAILED": "",
    "BuilderFlag.TF32": "",
    "MemoryPoolType.WORKSPACE": "",
    "ILogger.__init__": "",
    "ILogger.log": "severity, msg",
    "ILogger.Severity.INTERNAL_ERROR": "",
    "ILogger.Severity.ERROR": "",
    "IProfiler.__init__": "",
    "IProfiler.report_layer_time": "layer_name, ms",
    "Runtime.__init__": "logger",
    "Runtime.deserialize_cuda_engine": "serialized_engine",
    "ICudaEngine.num_io_tensors": "",
    "ICudaEngine.get_tensor_name": "index",
    "ICudaEngine.get_tensor_mode": "name",
    "ICudaEngine.get_tensor_dtype": "name",
    "ICudaEngine.create_execution_context": "",
    "ICudaEngine.create_engine_inspector": "",
    "EngineInspector.execution_context=": "",
    "EngineInspector.get_engine_information": "format",
    "LayerInformationFormat.JSON": "",
    "IExecutionContext.set_input_shape": "name, shape",
    "IExecutionContext.get_tensor_shape": "name",
    "IExecutionContext.set_tensor_address": "name, memory",
    "IExecutionContext.execute_async_v3": "stream_handle",
    "IExecutionContext.profiler=": "",
    "TensorIOMode.INPUT": "",
}
"""Used by the agent on a target, of TensorRT 8.5 to 11."""

ADAPTER = AGENT | {
    "Builder.create_optimization_profile": "",
    "ParserError.node_operator": "",
    "ParserError.node_name": "",
    "INetworkDefinition.num_inputs": "",
    "INetworkDefinition.get_input": "index",
    "ITensor.name": "",
    "ITensor.shape": "",
    "IBuilderConfig.builder_optimization_level=": "",
    "IBuilderConfig.progress_monitor=": "",
    "IBuilderConfig.add_optimization_profile": "profile",
    "ITimingCache.combine": "input_cache, ignore_mismatch",
    "IOptimizationProfile.set_shape": "input, min, opt, max",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": "",
    "ILogger.Severity.WARNING": "",
    "IProgressMonitor.__init__": "",
    "IProgressMonitor.phase_start": "phase_name, parent_phase, num_steps",
    "IProgressMonitor.phase_finish": "phase_name",
    "IProgressMonitor.step_complete": "phase_name, step",
    "ICudaEngine.device_memory_size_v2": "",
    "ICudaEngine.get_tensor_location": "name",
    "ICudaEngine.get_tensor_shape": "name",
    "IExecutionContext.enqueue_emits_profile=": "",
    "IExecutionContext.report_to_profiler": "",
    "TensorLocation.HOST": "",
    "DataType.FLOAT": "",
    "DataType.HALF": "",
    "DataType.BF16": "",
    "DataType.FP8": "",
    "DataType.INT8": "",
    "DataType.UINT8": "",
    "DataType.INT32": "",
    "DataType.INT64": "",
    "DataType.BOOL": "",
}

PROBED = {
    "BuilderFlag.FP16": "",
    "ICudaEngine.get_engine_stat": "stat",
    "EngineStat.TOTAL_WEIGHTS_SIZE": "",
    "IBuilderConfig.num_compute_capabilities=": "",
    "IBuilderConfig.set_compute_capability": "compute_capability, index",
    "ICudaEngine.create_runtime_config": "",
    "IRuntimeConfig.create_runtime_cache": "",
    "IRuntimeConfig.set_runtime_cache": "cache",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy=": "",
    "IRuntimeCache.serialize": "",
    "IRuntimeCache.deserialize": "blob",
    "DynamicShapesKernelSpecializationStrategy.EAGER": "",
    "DynamicShapesKernelSpecializationStrategy.NONE": "",
}
"""Members the adapter looks for before using them: they may be missing, but must fit where they exist."""

LOOKED_FOR = (
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "IBuilderConfig.builder_optimization_level",
    "ICudaEngine.device_memory_size",
    "ICudaEngine.device_memory_size_v2",
    "ParserError.node_name",
    "ParserError.node_operator",
    *(f"DataType.{name}" for name in ["FLOAT", "HALF", "BF16", "INT8", "UINT8", "INT32", "INT64", "BOOL"]),
)
"""Members that only some versions have; the agent does without them in the others."""

WEAK = {
    "BuilderFlag.FP16": "",
    "BuilderFlag.INT8": "",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": "",
    "INetworkDefinition.num_layers": "",
    "INetworkDefinition.get_layer": "index",
    "ILayer.name": "",
    "ILayer.num_outputs": "",
    "ILayer.get_output": "index",
    "ILayer.precision=": "",
    "ILayer.set_output_type": "index, dtype",
    "ITensor.dtype": "",
    "ITensor.is_shape_tensor": "",
    "DataType.FLOAT": "",
    "DataType.HALF": "",
}
"""Used by the agent in addition where networks are not strongly typed."""

POLYGRAPHY = {
    "Builder.create_network": "flags",
    "IBuilderConfig.get_flag": "flag",
    "IBuilderConfig.get_memory_pool_limit": "pool",
    "IBuilderConfig.get_preview_feature": "feature",
    "IBuilderConfig.get_tactic_sources": "",
    "IBuilderConfig.engine_capability": "",
    "IBuilderConfig.default_device_type": "",
    "IBuilderConfig.DLA_core": "",
    "IBuilderConfig.num_optimization_profiles": "",
    "IBuilderConfig.profiling_verbosity=": "",
    "INetworkDefinition.get_flag": "flag",
    "ITensor.dtype": "",
    "ITensor.is_shape_tensor": "",
}
"""Used by Polygraphy 0.53.6 beyond what the adapter uses, as the tests' masks of 10.13.3 and 11.4.0
recorded."""
