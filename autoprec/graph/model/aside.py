"""ONNX's own tools on models of any size: they copy what they are given several times, and bound nothing.

Where sizes are computed from shapes, inference follows them by data propagation (1.23), which writes an entry
for each element of whatever has one axis: 60 Concats in a row that double their input ask for exabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import onnx
import onnx_ir as ir

from autoprec.loading import bounded

SMALL_BYTES = 1024
"""Tensors up to this size stay in: those tools read axes and shapes from them."""
_MOST_ELEMENTS = 1 << 22
"""Elements of values with one axis up to which data is propagated: about 100 bytes each."""
_MOST_BYTES = 512 << 20
"""Memory that propagation may take, since sizes that it finds itself may be any."""


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
            # Small ones were never taken, and have theirs.
            value.const_value = weights.get(name, value.const_value)
            graph.initializers[name] = value


def whole_types(proto: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """The types that ONNX infers for the results of all nodes, by name. Raises what ONNX raises.

    Sizes that the model computes stay open where following them asks for too much memory.
    """
    types = _types(proto, propagate=False)
    # What has all its sizes needs no propagation, which costs most of the time.
    is_closed = all(_is_static(types.get(name)) for node in proto.graph.node for name in node.output if name)
    if is_closed or _elements(proto, types) > _MOST_ELEMENTS:
        return types
    with bounded(_MOST_BYTES), suppress(MemoryError):
        return _types(proto, propagate=True)
    return types


def _types(proto: onnx.ModelProto, *, propagate: bool) -> dict[str, onnx.TypeProto]:
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=False, data_prop=propagate).graph
    return {value.name: value.type for value in (*graph.value_info, *graph.output)}


def _is_static(kind: onnx.TypeProto | None) -> bool:
    """Whether a type is that of a tensor of known sizes."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return False
    return all(size.HasField("dim_value") for size in kind.tensor_type.shape.dim)


def _elements(proto: onnx.ModelProto, types: Mapping[str, onnx.TypeProto]) -> int:
    """Elements of all values of a graph that have one axis, as far as their sizes are known."""
    graph = proto.graph
    shapes = [
        [size.dim_value for size in kind.tensor_type.shape.dim]
        for kind in (*types.values(), *(value.type for value in graph.input))
    ]
    shapes += [list(tensor.dims) for tensor in graph.initializer]
    return sum(shape[0] for shape in shapes if len(shape) == 1)
