"""What a loaded engine reports about itself: its inputs and outputs, and the memory that it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from autoprec.backends.tensorrt.library import Library
from autoprec.errors import TrialError
from autoprec.records import Record

_DTYPES: Mapping[str, Any] = {
    "FLOAT": np.float32, "HALF": np.float16, "BF16": ml_dtypes.bfloat16, "FP8": ml_dtypes.float8_e4m3fn,
    "INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_,
}  # fmt: skip


class Tensors(Record, frozen=True, kw_only=True):
    """Names of inputs and outputs in the engine's order, and NumPy's types by name."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtypes: Mapping[str, Any]


def tensors_of(library: Library, engine: Any) -> Tensors:
    """The tensors of an engine. Raises `TrialError("run", ...)` for one that the CPU reads."""
    trt = library.trt
    given = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    names = [library.given(name or None, "run", "a tensor of the engine has no name") for name in given]
    is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
    for name in names:
        if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
            raise TrialError("run", f"{name!r} is a shape that TensorRT reads on the CPU: make it constant")
    return Tensors(
        inputs=tuple(name for name in names if is_input[name]),
        outputs=tuple(name for name in names if not is_input[name]),
        dtypes={name: _dtype_of(engine, name) for name in names},
    )


def engine_bytes(library: Library, engine: Any, plan_bytes: int) -> int:
    """Bytes on the device of weights, and of activations with workspace.

    The plan's size stands for that of the weights where the library does not report it: TensorRT 10.13 has no
    such call, and that of 10.14 raises `TypeError`, since it cannot tie an `int` to the engine's life.
    """
    weights = plan_bytes
    if hasattr(engine, "get_engine_stat"):
        with contextlib.suppress(TypeError):
            weights = engine.get_engine_stat(library.trt.EngineStat.TOTAL_WEIGHTS_SIZE)
    return int(weights + engine.device_memory_size_v2)


def _dtype_of(engine: Any, name: str) -> np.dtype[Any]:
    word = engine.get_tensor_dtype(name).name
    if word not in _DTYPES:
        raise TrialError("run", f"{name!r} is {word}, which NumPy has no type for: put a Cast before it")
    dtype: np.dtype[Any] = np.dtype(_DTYPES[word])
    return dtype
