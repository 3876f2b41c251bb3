"""A file in FP16 or BF16 as the same graph in FP32: what it computes without that rounding.

Written apart from `autoprec.graph.model.raising`, which it judges.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, numpy_helper
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from autoprec.graph.model.forms.folding import fold

_MOST_BYTES = 1 << 30
"""FP32 takes twice as much, and a file holds no more than 2 GiB."""
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def write_raised(path: Path, target: Path) -> bool:
    """Write a file with FP32 in the place of FP16 and BF16; returns whether it has any.

    Larger ones are left alone.
    """
    held = ir.load(path)
    weights = [value.const_value for value in held.graph.initializers.values()]
    if sum(weight.nbytes for weight in weights if weight is not None) > _MOST_BYTES:
        return False
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(held)
    fold(held.graph)  # what is rounded before the model runs is a constant's value
    model: onnx.ModelProto = ir.to_proto(ir.external_data.load_to_model(held))
    del model.graph.value_info[:]
    tensors = list(_tensors(model.graph))
    halves = [tensor for tensor in tensors if tensor.data_type in _HALVES]
    for tensor in halves:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        )
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype", "output_dtype") and attribute.i in _HALVES:
                attribute.i = TensorProto.FLOAT
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type in _HALVES:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    if halves:
        onnx.save(model, target)
    return bool(halves)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from (attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t"))
