"""Types and shapes of values: ONNX's inference, its gaps filled, and then what the file itself says.

A file's notes on inner values may be stale, and inference has gaps and faults: neither makes a valid model
invalid. So notes are set aside first, and fill only what inference leaves open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
import onnx_ir as ir
from onnx import helper

from autoprec.graph.model.aside import SMALL_BYTES, whole_types, without_weights

Notes = Mapping[str, tuple[ir.TypeProtocol | None, ir.Shape | None]]

_AS_FIRST_INPUT = frozenset({"GroupNormalization", "LayerNormalization", "MeanVarianceNormalization"})
"""Ops whose schemas infer nothing: their result is as their first input (1.23). The second has none before
opset 17, where ONNX Runtime's optimizer writes it all the same."""
_FAILS = (
    onnx.defs.SchemaError,
    onnx.shape_inference.InferenceError,
    onnx.checker.ValidationError,
    RuntimeError,
    ValueError,
)
"""What ONNX raises where it cannot infer a node's results."""
_ROUNDS = 64
"""Each round fills the gaps of a model that inference reaches; a model has few such ops in a row."""


def set_aside(graph: ir.Graph) -> Notes:
    """Take the types and shapes of what standard operators make off a graph, and return them by name.

    Outputs of the graph keep their types, which are promises, and lose their shapes, which may be symbols.
    """
    declared: dict[str, tuple[ir.TypeProtocol | None, ir.Shape | None]] = {}
    outputs = set(graph.outputs)
    for node in graph:
        for value in node.outputs:
            if value.name:
                declared[value.name] = value.type, value.shape
            if node.domain == "" or value in outputs:
                value.shape = None
            if node.domain == "" and value not in outputs:
                value.type = None
    return declared


def infer(model: ir.Model, notes: Notes) -> None:
    """Give every value of a model the type and shape that can be known, in place.

    Args:
        model: sorted, with its inputs' shapes.
        notes: what `set_aside` found.
    """
    for _ in range(_ROUNDS):
        _run(model)
        if not _filled(model):
            break
    for node in model.graph:
        for value in node.outputs:
            type_, shape = notes.get(str(value.name), (None, None))
            value.type = type_ if value.type is None else value.type
            value.shape = shape if value.shape is None else value.shape


def is_open(graph: ir.Graph) -> bool:
    """Whether inference left a shape of a graph open: it does not see through what computes sizes."""
    return any(value.name and not _is_static(value) for node in graph for value in node.outputs)


def close(node: ir.Node) -> None:
    """Infer the shapes of one node's results again, in place, where they are open and its inputs' are not.

    For a pass that computes constants from the first node to the last: what was a computed size is one now.
    """
    read = {str(value.name): value for value in node.inputs if value is not None}
    is_known = all(map(_is_static, read.values()))
    if node.domain != "" or not is_known or all(map(_is_static, node.outputs)):
        return
    assert node.graph is not None
    constants = {
        name: ir.to_proto(value.const_value)
        for name, value in read.items()
        if value.const_value is not None and value.const_value.nbytes <= SMALL_BYTES
    }
    types = {name: _type_proto(value) for name, value in read.items() if value.dtype is not None}
    inferred = _inferred(ir.to_proto(node), types, constants, node.graph.opset_imports)
    for value in node.outputs:
        if value.name in inferred:
            _take(value, inferred[value.name])


def unshaped(model: ir.Model, ops: Collection[str]) -> str:
    """A line about the nodes of such operators whose results have no known shape; empty if all have one.

    What a node costs is not known without, so it counts nothing where blocks are cut.
    """
    asked = [node for node in model.graph if node.op_type in ops]
    bare = [node for node in asked if not _is_static(node.outputs[0])]
    if not bare:
        return ""
    first = next(
        node for node in model.graph if any(value.name and not _is_static(value) for value in node.outputs)
    )
    return (
        f"{len(bare)} of {len(asked)} convolutions and products have no known shape: the first node without "
        f"one is {first.name!r} ({first.op_type}); blocks are cut without knowing what they cost, and if its "
        "inputs do not fit each other, no engine can run it: export the model with fixed shapes"
    )


def _run(model: ir.Model) -> None:
    """ONNX's inference of the whole graph; where that fails, node by node, past what it stumbles over."""
    try:
        with without_weights(model) as (proto, _):
            types = whole_types(proto)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        types = _node_by_node(model)
    for node in model.graph:
        for value in node.outputs:
            if value.name in types:
                _take(value, types[value.name])


def _take(value: ir.Value, kind: onnx.TypeProto) -> None:
    """Set a value's inferred type and shape; what is known stays where inference knows less."""
    type_, shape = (
        ir.serde.deserialize_type_proto_for_type(kind),
        ir.serde.deserialize_type_proto_for_shape(kind),
    )
    if value.type is None:
        value.type = type_
    if shape is not None and (value.shape is None or len(value.shape) != len(shape) or shape.is_static()):
        value.shape = shape


def _node_by_node(model: ir.Model) -> dict[str, onnx.TypeProto]:
    with without_weights(model) as (proto, _):
        graph = proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kinds = {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}
    kinds |= {
        name: helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        for name, tensor in constants.items()
    }
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    for node in graph.node:
        types = {name: kinds[name] for name in node.input if name in kinds}
        data = {name: constants[name] for name in node.input if name in constants}
        inferred = _inferred(node, types, data, opsets)
        kinds |= {name: type_ for name, type_ in inferred.items() if type_.WhichOneof("value")}
    return kinds


def _inferred(
    node: onnx.NodeProto,
    types: Mapping[str, onnx.TypeProto],
    constants: Mapping[str, onnx.TensorProto],
    opsets: Mapping[str, int],
) -> dict[str, onnx.TypeProto]:
    """The types of one node's results; none of an operator that ONNX does not know, or where inference fails.

    Args:
        node: of any domain.
        types: of its inputs, by name.
        constants: those of its inputs that are constants, by name.
        opsets: by domain.
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
        imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        kinds: dict[str, onnx.TypeProto] = onnx.shape_inference.infer_node_outputs(
            schema, node, dict(types), dict(constants), opset_imports=imports
        )
    except _FAILS:
        return {}
    return kinds


def _is_static(value: ir.Value) -> bool:
    """Whether a value is a tensor of known sizes; of a sequence, no shape is asked for."""
    is_list = isinstance(value.type, ir.SequenceType | ir.OptionalType)
    return not is_list and value.shape is not None and value.shape.is_static()


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    assert value.dtype is not None
    assert value.shape is not None
    return helper.make_tensor_type_proto(value.dtype.value, value.shape.numpy())


def _filled(model: ir.Model) -> bool:
    """Fill in what schemas alone determine; returns whether anything was."""
    progress = False
    opset = model.graph.opset_imports[""]
    for node in model.graph:
        if node.domain != "":
            continue
        for place, value in enumerate(node.outputs):
            if value.name and value.type is None and (type_ := _type_of(node, place, opset)) is not None:
                value.type, progress = type_, True
            source = node.inputs[0] if node.op_type in _AS_FIRST_INPUT and place == 0 else None
            if source is not None and value.shape is None and source.shape is not None:
                value.shape, progress = source.shape.copy(), True
            if source is not None and value.type is None and source.type is not None:
                value.type, progress = source.type, True
    return progress


def _type_of(node: ir.Node, place: int, opset: int) -> ir.TypeProtocol | None:
    """The type of an output that shares a type variable with an input whose type is known."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return None
    if not schema.outputs:
        return None
    wanted = schema.outputs[min(place, len(schema.outputs) - 1)].type_str
    for index, value in enumerate(node.inputs):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if value is not None and value.type is not None and formal.type_str == wanted:
            return value.type
    return None
