"""A quantised model without its rounding: each Q/DQ pair of an activation becomes the clipping that it does.

That is what the float model behind it computes: a pair rounds, which costs accuracy, and clips, which may
stand for a ReLU or a Clip that the quantiser dropped. Written apart from `incoming`, which it judges.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass

from autoprec.graph.model.files import write_model
from autoprec.graph.model.forms.borders import without_bare_levels
from autoprec.graph.model.forms.folding import fold
from autoprec.graph.model.forms.integers import INTEGER_OPS, without_integers
from autoprec.graph.model.passing import placed

Array = NDArray[Any]
_QUANTIZED = INTEGER_OPS | {"DequantizeLinear"}
_LARGEST = {
    ir.DataType.FLOAT8E4M3FN: 448.0,
    ir.DataType.FLOAT8E5M2: 57344.0,
    ir.DataType.FLOAT4E2M1: 6.0,
}


def write_unrounded(path: Path, target: Path) -> bool:
    """Write a model with the pairs of its activations as clipping; returns whether there are any.

    Pairs of weights stay: their levels are the weights. Pairs whose scale is no constant stay too.
    """
    model = ir.load(path)
    if not any(node.op_type in _QUANTIZED for node in model.graph):
        return False
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    without_integers(model.graph)
    # Scales may be computed, by a Cast say, and only constants say what a pair clips.
    fold(model.graph)
    without_bare_levels(model.graph)
    done = [_replace(model.graph, node) for node in list(model.graph) if node.op_type == "DequantizeLinear"]
    if any(done):
        # The quantizers, which nothing reads any more.
        RemoveUnusedNodesPass()(model)
        write_model(model, target)
    return any(done)


def float_types(path: Path) -> frozenset[ir.DataType]:
    """The float types that a model says it computes in: of its weights, its values and its Casts."""
    graph = ir.load(path).graph
    values = [value for node in graph for value in (*node.inputs, *node.outputs) if value is not None]
    kinds = {value.dtype for value in (*values, *graph.inputs) if value.dtype is not None}
    kinds |= {ir.DataType(node.attributes.get_int("to", 1)) for node in graph if node.op_type == "Cast"}
    return frozenset(kind for kind in kinds if kind.is_floating_point())


def _replace(graph: ir.Graph, node: ir.Node) -> bool:
    """Put Max and Min in place of one pair. Returns whether it is one of an activation."""
    levels, output = node.inputs[0], node.outputs[0]
    quantizer = None if levels is None else levels.producer()
    if quantizer is None or quantizer.op_type != "QuantizeLinear" or quantizer.inputs[0] is None:
        return False
    value, scale = quantizer.inputs[0], _constant(node, 1)
    if value.const_value is not None or scale is None or node.attributes.get_int("block_size", False):
        return False
    form: tuple[int, ...] = ()
    if scale.size > 1:
        if value.shape is None:
            return False
        axis = placed(int(node.attributes.get_int("axis", 1) or 0), len(value.shape))
        form = tuple(-1 if place == axis else 1 for place in range(len(value.shape)))
    limits = [
        _initializer(graph, f"{output.name}/{end}", limit.reshape(form), scale.dtype)
        for end, limit in zip(("low", "high"), _limits(quantizer, scale.numpy()), strict=True)
    ]
    raised = ir.Node("", "Max", [value, limits[0]], name=f"{output.name}/Max")
    clipped = ir.Node("", "Min", [raised.outputs[0], limits[1]], name=str(node.name or f"{output.name}/Min"))
    raised.outputs[0].name, raised.outputs[0].type = f"{output.name}/raised", value.type
    graph.insert_before(node, [raised, clipped])
    output.replace_all_uses_with(clipped.outputs[0], replace_graph_outputs=True)
    result = clipped.outputs[0]
    result.name, result.shape, result.type = output.name, output.shape, value.type
    output.name = f"{output.name}/rounded"
    graph.remove(node, safe=True)
    return True


def _limits(quantizer: ir.Node, scale: Array) -> tuple[Array, Array]:
    """The least and the largest value that a quantizer's levels stand for."""
    zero = _constant(quantizer, 2)
    named = quantizer.attributes.get_int("output_dtype", False)
    kind = zero.dtype if zero is not None else ir.DataType(named or ir.DataType.UINT8)
    largest = _LARGEST.get(kind)
    scales = scale.astype(np.float64)
    if largest is not None:
        return -largest * scales, largest * scales
    # In float64: 255 - 128 of unsigned bytes wraps, and float32 rounds what UINT16 grids reach.
    zeros = 0.0 if zero is None else zero.numpy().astype(np.float64)
    return (float(kind.min) - zeros) * scales, (float(kind.max) - zeros) * scales


def _constant(node: ir.Node, place: int) -> ir.TensorProtocol | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    return None if value is None else value.const_value


def _initializer(graph: ir.Graph, name: str, array: Array, data_type: ir.DataType) -> ir.Value:
    tensor = ir.tensor(array.astype(data_type.numpy()), dtype=data_type, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(data_type), const_value=tensor
    )
    graph.register_initializer(value)
    return value
