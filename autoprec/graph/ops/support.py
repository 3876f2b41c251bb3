"""Which float types an op takes, read from ONNX's own schemas."""

from __future__ import annotations

import functools

import onnx
import onnx_ir as ir

_NAMES = {
    ir.DataType.FLOAT: "tensor(float)",
    ir.DataType.FLOAT16: "tensor(float16)",
    ir.DataType.BFLOAT16: "tensor(bfloat16)",
}


_SPELLED = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}
_VARIADIC = onnx.defs.OpSchema.FormalParameterOption.Variadic
_FREE = frozenset({"RandomNormalLike", "RandomUniformLike", "Bernoulli", "EyeLike"})
"""Ops whose output has the type of their input, although the schema does not tie one to the other."""


def supports(node: ir.Node, data_type: ir.DataType, opset: int) -> bool:
    """Whether `node`'s float inputs and outputs may be of `data_type` at this opset.

    Ops of other domains are taken to need FLOAT: nothing is known of them.
    """
    if data_type == ir.DataType.FLOAT:
        return True
    if node.domain not in ("", "ai.onnx") or node.op_type in _FREE:
        return False
    return all(data_type in float_types(node, index, opset) for index in float_inputs(node))


def float_inputs(node: ir.Node) -> tuple[int, ...]:
    """Places of the inputs that hold FLOAT tensors."""
    return tuple(
        index
        for index, value in enumerate(node.inputs)
        if value is not None and value.dtype == ir.DataType.FLOAT
    )


def float_types(node: ir.Node, index: int, opset: int) -> frozenset[ir.DataType]:
    """The float types that input `index` may have. Resize's scales, for one, are FLOAT whatever the data."""
    return _input_types(node.op_type, index, opset)


@functools.cache
def _input_types(op_type: str, index: int, opset: int) -> frozenset[ir.DataType]:
    try:
        schema = onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return frozenset({ir.DataType.FLOAT})
    # The last formal input stands for all further ones of a variadic operator such as Concat.
    formal = schema.inputs[min(index, len(schema.inputs) - 1)]
    return frozenset(data_type for data_type, name in _NAMES.items() if name in formal.types)


def output_types(node: ir.Node, opset: int, own: ir.DataType) -> tuple[ir.DataType | None, ...]:
    """Types of the outputs of a node that runs in `own`: FLOAT ones follow the input that they share a type
    variable with, all others stay as they are."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return tuple(value.dtype for value in node.outputs)
    shared = {formal.type_str for formal in schema.inputs}
    dtypes = []
    for place, value in enumerate(node.outputs):
        formal = schema.outputs[min(place, len(schema.outputs) - 1)]
        follows = value.dtype == ir.DataType.FLOAT and formal.type_str in shared
        dtypes.append(own if follows else value.dtype)
    return tuple(dtypes)


def mistyped(node: ir.Node, opset: int) -> str:
    """What is wrong with the types of a node's inputs and outputs by its schema; empty if nothing is.

    Nothing is known of operators of other domains.
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return ""
    bound: dict[str, ir.DataType] = {}
    for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for place, value in enumerate(values):
            kind = None if value is None or not isinstance(value.type, ir.TensorType) else value.type.dtype
            if value is None or kind is None:
                continue
            formal = formals[min(place, len(formals) - 1)]
            if f"tensor({_SPELLED.get(kind, kind.name.lower())})" not in formal.types:
                return f"{value.name!r} is {kind.name}, which {node.op_type} does not take there"
            # Values of a heterogeneous variadic parameter share a type variable, but need not have one type.
            is_single = formal.is_homogeneous or formal.option != _VARIADIC
            if is_single and bound.setdefault(formal.type_str, kind) != kind:
                return f"{value.name!r} is {kind.name}, but {bound[formal.type_str].name} is beside it"
    return ""
