"""Makes the stub library an engine that computes: plans are models, OpenVINO runs them, times are invented.

Every process of a search calls `begin` before anything else (see `searching.py`). AIR_REFUSES=STEP makes that
call fail, after AIR_AFTER calls that succeed, with a reason in the log.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import tensorrt as trt
from gpu import Driver, Gpu, Stream
from hollow import Hollow, Made
from learning import learn
from onnx import TensorProto

from autoprec.backends import create_backend, run
from autoprec.backends.target.agent import tensorrt_engine
from autoprec.backends.tensorrt import cuda

REASON = "the very reason"
_WORDS = {
    TensorProto.FLOAT: ("FLOAT", "Float", np.float32), TensorProto.FLOAT16: ("HALF", "Half", np.float16),
    TensorProto.BFLOAT16: ("BF16", "BFloat16", ml_dtypes.bfloat16),
    TensorProto.INT64: ("INT64", "Int64", np.int64),
    TensorProto.INT32: ("INT32", "Int32", np.int32), TensorProto.INT8: ("INT8", "Int8", np.int8),
}  # fmt: skip
"""By ONNX type: TensorRT's name, the inspector's word, NumPy's type."""
_COSTS = {"Float": 1.0, "Half": 0.7, "BFloat16": 0.7, "Int8": 0.4}
"""Milliseconds of a convolution, by the type of its weights."""
_ALIVE: list[Hollow] = []
"""Kept alive as long as the process: the bindings still call the library while Python shuts down."""


class Plan:
    """A serialized engine, which here is the ONNX model itself."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
        weights = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [value for value in model.graph.input if value.name not in weights]
        self.ends = {value.name: value for value in (*self.inputs, *model.graph.output)}
        self.outputs = [value.name for value in model.graph.output]
        self.layers = list(_layers(model))
        self.cost = 0.05 * len(self.layers) + sum(_COSTS.get(word, 0) for _, word in self.layers)
        self._engine: Any = None

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an input or output."""
        return tuple(size.dim_value for size in self.ends[name].type.tensor_type.shape.dim)

    def words(self, name: str) -> tuple[str, str, Any]:
        """The type of an input or output, as in `_WORDS`."""
        return _WORDS[self.ends[name].type.tensor_type.elem_type]

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """Run the model on OpenVINO; arrays by name."""
        if self._engine is None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "plan.onnx"
                path.write_bytes(self.data)
                self._engine = create_backend("openvino", {}).build(path)
        return run(self._engine, feeds)

    def description(self) -> str:
        """The engine's layers in the inspector's JSON."""
        told = []
        for name, word in self.layers:
            kind = "CaskConvolution" if word else "PointWiseV2"
            weights = {"Weights": {"Type": word, "Count": 1}} if word else {}
            told.append({"Name": name, "LayerType": kind, "Metadata": f"[ONNX Layer: {name}]", **weights})
        return json.dumps({"Layers": told})


class Run:
    """An execution context: a plan, and the addresses of its inputs and outputs."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.ms = plan, plan.cost
        self.places: dict[str, int] = {}
        self.profiler = 0

    def compute(self) -> None:
        """Read the inputs at their addresses, run the plan, and write the outputs."""
        plan = self.plan
        feeds = {}
        for name in plan.ends:
            if name not in plan.outputs:
                kind = plan.words(name)[2]
                size = int(np.prod(plan.shape(name))) * np.dtype(kind).itemsize
                feeds[name] = np.frombuffer(ctypes.string_at(self.places[name], size), kind)
                feeds[name] = feeds[name].reshape(plan.shape(name))
        for name, array in plan.run(feeds).items():
            data = np.ascontiguousarray(array.astype(plan.words(name)[2]))
            ctypes.memmove(self.places[name], data.ctypes.data, data.nbytes)


def _layers(model: onnx.ModelProto) -> Any:
    """Yield name and weight type of each node but Q/DQ and casts; the type is empty unless a convolution."""
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    pairs = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            continue
        word = ""
        if node.op_type == "Conv":
            word = "Int8" if set(node.input[:2]) <= pairs else _WORDS[types.get(node.output[0], 1)][1]
        yield node.name, word


def begin(folder: Path) -> None:
    """Make TensorRT compute in this process; `folder` has the stub library."""
    hollow, gpu = Hollow(folder), Gpu()
    _ALIVE.append(hollow)
    learn(hollow)
    answer(hollow, gpu)
    hollow.called.clear()
    refuse(hollow, os.environ.get("AIR_REFUSES", ""), int(os.environ.get("AIR_AFTER", "0")))
    cuda.runtime = lambda: gpu  # type: ignore[assignment]
    for name, ours in (("Driver", lambda ordinal: Driver(gpu, ordinal)), ("DriverStream", Stream)):
        setattr(tensorrt_engine, name, ours)


def refuse(hollow: Hollow, step: str, after: int) -> None:
    """Make a step fail once it has succeeded `after` times; an empty step changes nothing."""
    if not step:
        return
    works, calls = hollow.does.get(step, 1), itertools.count()

    def refuses(*arguments: Any) -> Any:
        if next(calls) >= after:
            hollow.say(REASON)
            return 0
        return works(*arguments) if callable(works) else works

    hollow.does[step] = refuses


def answer(hollow: Hollow, gpu: Gpu) -> None:
    """Give the library an answer to every method."""

    def parse(path: int, *_: Any) -> int:
        model = onnx.load(hollow.text(path))
        hollow.this["plan"] = Plan(model.SerializeToString())
        return 1

    def attach(profiler: int | None, *_: Any) -> int:
        hollow.this.profiler = profiler or 0
        return 1

    def report(*_: Any) -> int:
        for name, word in hollow.this.plan.layers:
            hollow.report(hollow.this.profiler, name, _COSTS.get(word, 0.05))
        return 1

    def address(name: int, place: int, *_: Any) -> int:
        hollow.this.places[hollow.text(name)] = place
        return 1

    def enqueue(*_: Any) -> int:
        gpu.enqueue(hollow.this)
        return 1

    def mode(name: int, *_: Any) -> int:
        is_output = hollow.text(name) in hollow.this.outputs
        return int(trt.TensorIOMode.OUTPUT if is_output else trt.TensorIOMode.INPUT)

    def tensor(index: int | None, *_: Any) -> Made:
        plan = hollow.this["plan"]
        return Made("ITensor", (plan, plan.inputs[index or 0].name))

    hollow.does.update({
        "Builder.create_network": lambda *_: Made("INetworkDefinition", {}),
        "OnnxParser.parse_from_file": parse,
        "INetworkDefinition.num_inputs": lambda *_: len(hollow.this["plan"].inputs),
        "INetworkDefinition.get_input": tensor,
        "ITensor.name": lambda *_: hollow.this[1],
        "ITensor.shape": lambda *_: hollow.this[0].shape(hollow.this[1]),
        "Builder.build_serialized_network":
            lambda network, *_: Made("IHostMemory", hollow.state(network)["plan"].data),
        "ITimingCache.serialize": lambda *_: Made("IHostMemory", b"timing"),
        "ITimingCache.combine": 1, "IBuilderConfig.set_timing_cache": 1,
        "IHostMemory.data": lambda *_: hollow.this, "IHostMemory.nbytes": lambda *_: len(hollow.this),
        "IHostMemory.dtype": int(trt.DataType.INT8),
        "Runtime.deserialize_cuda_engine":
            lambda place, size, *_: Made("ICudaEngine", Plan(ctypes.string_at(place, size))),
        "ICudaEngine.num_io_tensors": lambda *_: len(hollow.this.ends),
        "ICudaEngine.get_tensor_name": lambda index, *_: list(hollow.this.ends)[index or 0],
        "ICudaEngine.get_tensor_mode": mode,
        "ICudaEngine.get_tensor_shape": lambda name, *_: hollow.this.shape(hollow.text(name)),
        "ICudaEngine.get_tensor_dtype":
            lambda name, *_: int(getattr(trt.DataType, hollow.this.words(hollow.text(name))[0])),
        "ICudaEngine.get_tensor_location": int(trt.TensorLocation.DEVICE),
        "ICudaEngine.device_memory_size_v2": 1 << 20, "ICudaEngine.get_engine_stat": 1 << 20,
        "ICudaEngine.create_execution_context": lambda *_: Made("IExecutionContext", Run(hollow.this)),
        "ICudaEngine.create_engine_inspector": lambda *_: Made("EngineInspector", hollow.this),
        "EngineInspector.get_engine_information": lambda *_: hollow.this.description(),
        "EngineInspector.execution_context=": 1,
        "IExecutionContext.get_tensor_shape": lambda name, *_: hollow.this.plan.shape(hollow.text(name)),
        "IExecutionContext.set_input_shape": 1, "IExecutionContext.set_tensor_address": address,
        "IExecutionContext.execute_async_v3": enqueue, "IExecutionContext.profiler=": attach,
        "IExecutionContext.enqueue_emits_profile=": 1, "IExecutionContext.report_to_profiler": report,
    })  # fmt: skip
