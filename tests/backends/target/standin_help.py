"""What trtexec of a version says of its options."""

from __future__ import annotations

BOTH = """
  --onnx=<file>               ONNX model
  --saveEngine=<file>         Save the serialized engine
  --loadEngine=<file>         Load a serialized engine
  --profilingVerbosity=mode   Specify profiling verbosity. mode ::= layer_names_only|detailed|none
  --timingCacheFile=<file>    Save/load the serialized global timing cache
  --memPoolSize=poolspec      Specify the size constraints of the designated memory pool(s) in MiB.
  --noTF32                    Disable tf32 precision (default is to enable tf32, in addition to fp32)
  --device=N                  Select cuda device N (default = 0)
  --useDLACore=N              Select DLA core N for layers that support DLA (default = none)
  --allowGPUFallback          When DLA is enabled, allow GPU fallback for unsupported layers
  --loadInputs=spec           Load input values from files
  --iterations=N              Run at least N inference iterations (default = 10)
  --warmUp=N                  Run for N milliseconds to warmup before measuring performance (default = 200)
  --duration=N                Run performance measurements for at least N seconds wallclock time
  --useCudaGraph              Use CUDA graph to capture engine execution and then launch inference
  --noDataTransfers           Disable DMA transfers to and from device (default = enabled).
  --useSpinWait               Actively synchronize on GPU events.
  --exportTimes=<file>        Write the timing results in a json file (default = disabled)
  --exportOutput=<file>       Write the output tensors to a json file (default = disabled)
  --exportProfile=<file>      Write the profile information per layer in a json file (default = disabled)
  --exportLayerInfo=<file>    Write the layer information of the engine in a json file (default = disabled)
  --help, -h                  Print this message
"""
WEAK = """
  --fp16                      Enable fp16 precision, in addition to fp32 (default = disabled)
  --int8                      Enable int8 precision, in addition to fp32 (default = disabled)
  --precisionConstraints=spec Control precision constraint setting. (default = none)
  --layerPrecisions=spec      Control per-layer precision constraints. Effective only when
                              precisionConstraints is set to "obey" or "prefer". (default = none)
  --layerOutputTypes=spec     Control per-layer output type constraints.
"""
LATER = """
  --builderOptimizationLevel  Set the builder optimization level.
  --skipInference             Exit after the engine has been built and skip inference perf measurement
"""
STRONG = "  --stronglyTyped             Create a strongly typed network."


def helped(version: int) -> str:
    if version < 8600:
        return BOTH + WEAK + "  --buildOnly                 Exit after the engine has been built\n"
    if version < 100000:
        return BOTH + WEAK + LATER
    return BOTH + LATER + (WEAK + STRONG if version < 110000 else "")
