"""A model's message without its weights: ONNX's own tools copy what they are given several times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import onnx
import onnx_ir as ir

SMALL_BYTES = 1024
"""Tensors up to this size stay in: those tools read axes and shapes from them."""


@contextmanager
def without_weights(model: ir.Model) -> Iterator[tuple[onnx.ModelProto, Mapping[str, ir.TensorProtocol]]]:
    """The message, with large initializers as inputs, and their tensors by name.

    The model itself is restored at the end of the block.
    """
    graph = model.graph
    listed, held = list(graph.inputs), dict(graph.initializers)
    weights = {}
    try:
        for name, value in held.items():
            tensor = value.const_value
            if tensor is None or tensor.nbytes <= SMALL_BYTES:
                continue
            weights[name] = tensor
            # As an input it needs the type and shape that inference otherwise reads off the tensor.
            value.shape, value.type = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
            value.const_value = None
            graph.initializers.pop(name)
            if value not in listed:
                graph.inputs.append(value)
        yield ir.to_proto(model), weights
    finally:
        graph.inputs[:] = listed
        graph.initializers.clear()
        for name, value in held.items():
            value.const_value = weights.get(name, value.const_value)
            graph.initializers[name] = value
