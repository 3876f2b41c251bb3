"""Candidates for TensorRT before 10, whose builder does not keep to the types in a model.

A typed candidate becomes a float32 graph that keeps its Q/DQ pairs, and each layer's float type becomes a
word beside it, for the builder to obey. What stands between pairs is held by them ("Explicit Quantization" of
TensorRT's documentation).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends.target.opset import at_opset
from autoprec.errors import TrialError
from autoprec.precisions.layer_flags import is_sayable

_HALF, _FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT
_WORDS = {_FLOAT: "fp32", _HALF: "fp16"}
_SERVED = frozenset({_FLOAT, _HALF, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL})
_PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_TYPES = ("to", "dtype")
"""Attributes that name a type."""
NEWEST_OPSET = 17


class HeldLayer(NamedTuple):
    """What the builder is told of a layer: `precision` and `made`, the type of what it makes, are `fp32` or
    `fp16`; `node` is its name in the candidate."""

    name: str
    precision: str
    made: str
    node: str


def weaken(model: onnx.ModelProto) -> tuple[HeldLayer, ...]:
    """Rewrite a typed candidate for a weakly typed builder, in place; returns its layers.

    Raises `TrialError("build", ...)` for types and operators that TensorRT 8 does not have.
    """
    graph = model.graph
    typed = {value.name for value in (*graph.value_info, *graph.output)}
    if not typed.issuperset(name for node in graph.node for name in node.output):
        graph.value_info.MergeFrom(onnx.shape_inference.infer_shapes(model).graph.value_info)
    types = _types(graph)
    _refuse(graph, types)
    output_types = {node.name: types.get(node.output[0], 0) for node in graph.node}
    _join(graph, types)
    _as_float32(graph)
    _unstore(graph)
    at_opset(model, NEWEST_OPSET)
    return tuple(_layers(model.graph, output_types))


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """Element types by value."""
    values = (*graph.value_info, *graph.input, *graph.output)
    element_types = {value.name: value.type.tensor_type.elem_type for value in values}
    return element_types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _refuse(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    for name, kind in types.items():
        if kind and kind not in _SERVED:
            word = TensorProto.DataType.Name(kind)
            raise TrialError("build", f"{name!r} is {word}, which TensorRT before 10 does not have")
    for tensor in graph.initializer:
        # The writer's name of a zero point: its parser takes symmetric grids alone.
        if tensor.data_type == TensorProto.INT8 and tensor.name.endswith("/zero") and any(tensor.raw_data):
            raise TrialError("build", f"{tensor.name!r}: TensorRT has no zero points but 0")


def _layers(graph: onnx.GraphProto, output_types: dict[str, int]) -> Iterator[HeldLayer]:
    """The layer of each node that makes floats, renamed where options cannot hold the name.

    `output_types` are types by the names of the candidate's nodes; what stands for one of them is named
    below it.
    """
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    outputs = {value.name for value in graph.output}
    taken = {node.name for node in graph.node}
    for number, node in enumerate(graph.node):
        name = node.name if node.name in output_types else node.name.rpartition("/")[0]
        if not is_sayable(node.name):
            node.name = next(n for n in _names(number) if n not in taken)
            taken.add(node.name)
        # A product behind pairs runs in INT8 by them: a float type of its own would contradict them.
        held = node.op_type in _PRODUCTS and "DequantizeLinear" in (made_by.get(v) for v in node.input[:2])
        word = _WORDS.get(output_types.get(name, 0), "")
        if word and node.op_type not in _PAIRS and not held:
            yield HeldLayer(node.name, word, "fp32" if node.output[0] in outputs else word, name)


def _names(number: int) -> Iterator[str]:
    name = f"autoprec/layer/{number}"
    while True:
        yield name
        name += "_"


def _joins(node: onnx.NodeProto, types: dict[str, int]) -> bool:
    """Whether a node is a Cast from one float type to another."""
    return node.op_type == "Cast" and all(types.get(v, 0) in _WORDS for v in (node.input[0], node.output[0]))


def _join(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    """Take out casts between float types; where one makes an output, what it reads gets its name."""
    fixed = {value.name for value in (*graph.input, *graph.output)} | {t.name for t in graph.initializer}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        source = _followed(node.input[0], renamed) if _joins(node, types) else ""
        if not source:
            kept.append(node)
        elif node.output[0] not in fixed:
            renamed[node.output[0]] = source
        # What makes the output's value takes its name, which callers know.
        elif source not in fixed:
            renamed[source] = node.output[0]
            fixed.add(node.output[0])
        else:
            kept.append(helper.make_node("Identity", [source], list(node.output), name=node.name))
    for node in kept:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = _followed(name, renamed)
    del graph.node[:]
    graph.node.extend(kept)
    there = {name for node in kept for name in node.output}
    typed = [value for value in graph.value_info if value.name in there]
    del graph.value_info[:]
    graph.value_info.extend(typed)


def _followed(name: str, renamed: dict[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name


def _as_float32(graph: onnx.GraphProto) -> None:
    """Turn FP16 into float32 wherever it occurs; no value changes."""
    for tensor in graph.initializer:
        _widen(tensor)
    for value in (*graph.value_info, *graph.input, *graph.output):
        kind = value.type.tensor_type
        kind.elem_type = _FLOAT if kind.elem_type == _HALF else kind.elem_type
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
            elif attribute.name in _TYPES and attribute.i == _HALF:
                attribute.i = _FLOAT


def _widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == _HALF:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        )


def _unstore(graph: onnx.GraphProto) -> None:
    """Weights that are stored as integers become floats on that grid behind a whole pair: a constant of INT8
    is an `invalid weights type` to its parser."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        tensor = stored.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if tensor is not None:
            levels, scale = numpy_helper.to_array(tensor), numpy_helper.to_array(stored[node.input[1]])
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape = [-1 if place == axis % levels.ndim else 1 for place in range(levels.ndim)]
            floats = levels.astype(np.float32) * (scale.reshape(shape) if scale.ndim else scale)
            tensor.CopyFrom(numpy_helper.from_array(floats, tensor.name))
            levels_name = f"{tensor.name}/levels"
            quantize = helper.make_node(
                "QuantizeLinear", list(node.input), [levels_name], name=f"{node.name}/q"
            )
            quantize.attribute.extend(a for a in node.attribute if a.name == "axis")
            nodes.append(quantize)
            node.input[0] = levels_name
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
