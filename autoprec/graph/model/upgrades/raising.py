"""Models that compute in FP16 or BF16 between FP32 borders: raised to FP32, so that every precision is a
choice. What such a file computes differs by its own rounding, and where its values overflow.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.grids.pairs import lazy_tensor
from autoprec.graph.model.passing import bypass

FLOAT = ir.DataType.FLOAT
HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype", "softmax_precision", "stash_type")
"""Attributes that hold the number of a data type."""


def raised(model: ir.Model) -> tuple[ir.DataType, ...]:
    """Raise a model's half-precision values to FP32, in place; returns the types that it computed in.

    Inputs and outputs of the graph keep their types. A model whose borders are all in half precision is left
    as it is. The model has inferred types, and its constants are initializers.
    """
    graph = model.graph
    if FLOAT not in {value.dtype for value in (*graph.inputs, *graph.outputs)}:
        return ()
    dtypes = {value.dtype for node in graph for value in node.outputs}
    halves = tuple(sorted(HALVES & (dtypes | {value.dtype for value in graph.initializers.values()})))
    if halves:
        _raise(graph)
    return halves


def _raise(graph: ir.Graph) -> None:
    for value in (*graph.inputs, *graph.outputs):
        if value.dtype in HALVES and value.const_value is None:
            _keep_border(graph, value, is_input=value.is_graph_input())
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and tensor.dtype in HALVES:
            value.const_value = lazy_tensor(name, FLOAT, tensor.shape, partial(_floats, tensor))
            value.type = ir.TensorType(FLOAT)
    # Not the Casts just put at the borders: they keep the types that callers of the file know.
    for node in [node for node in graph if not node.meta.get(_BORDER)]:
        _raise_node(node)
    for node in list(graph):
        # The file's own Casts between FP32 and half precision convert nothing any more.
        source = node.inputs[0] if node.op_type == "Cast" and node.domain == "" else None
        if source is not None and source.dtype == FLOAT and node.attributes.get_int("to", 0) == FLOAT.value:
            bypass(graph, node)


def _raise_node(node: ir.Node) -> None:
    for attribute in list(node.attributes.values()):
        _raise_attribute(node, attribute)
    for value in node.outputs:
        if value.dtype in HALVES:
            value.type = ir.TensorType(FLOAT)


_BORDER = "autoprec.border"


def _keep_border(graph: ir.Graph, value: ir.Value, *, is_input: bool) -> None:
    """Put a Cast between an input or output of the graph in half precision and the inside."""
    inner = ir.Value(name=f"{value.name}/raised", shape=value.shape, type=ir.TensorType(FLOAT))
    assert value.dtype is not None
    if is_input:
        node = ir.node("Cast", [value], {"to": FLOAT.value}, outputs=[inner], name=f"{value.name}/raised")
        for use in value.uses():
            if use.node is not node:
                use.node.replace_input_with(use.idx, inner)
        graph.insert_before(graph[0], node)
    else:
        maker = value.producer()
        if maker is None:
            return
        place, kind = list(graph.outputs).index(value), value.dtype
        result = ir.Value(name=value.name, shape=value.shape, type=ir.TensorType(kind))
        value.name, value.type = f"{value.name}/raised", ir.TensorType(FLOAT)
        node = ir.node("Cast", [value], {"to": kind.value}, outputs=[result], name=f"{value.name}/lowered")
        graph.append(node)
        graph.outputs[place] = result
    node.meta[_BORDER] = True


def _raise_attribute(node: ir.Node, attribute: ir.Attr) -> None:
    """Change an attribute that names a half-precision type, or holds a tensor of one, to FP32."""
    if attribute.type == ir.AttributeType.INT and attribute.name in _TYPE_ATTRIBUTES:
        if attribute.as_int() in {kind.value for kind in HALVES}:
            node.attributes.add(ir.AttrInt64(attribute.name, FLOAT.value))
    elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALVES:
        node.attributes.add(ir.AttrTensor(attribute.name, ir.tensor(_floats(attribute.as_tensor()))))


def _floats(tensor: ir.TensorProtocol) -> NDArray[np.float32]:
    return tensor.numpy().astype(np.float32)
