"""The nodes of an ONNX file: whether each has what its operator requires.

ONNX's inference believes what it reads, and a native library that does so ends the process: what its schemas
demand is checked before it, and before every pass of ours that takes a required input for granted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx
from onnx import AttributeProto, NodeProto
from onnx.defs import OpSchema

from autoprec.errors import ModelError
from autoprec.graph.model.upgrades.opset import OPSET

_ALIAS = "ai.onnx"
_SINGLE = OpSchema.FormalParameterOption.Single
_NEWEST = 1 << 30


def check_nodes(proto: onnx.ModelProto) -> None:
    """Raises `ModelError` for a node of ONNX's without a required input or attribute, or with one of another
    type."""
    own = {(function.domain, function.name) for function in proto.functions}
    bodies: list[tuple[Any, Any]] = [(proto.opset_import, proto.graph.node)]
    bodies += [(function.opset_import or proto.opset_import, function.node) for function in proto.functions]
    for opsets, nodes in bodies:
        versions = {entry.domain: entry.version for entry in opsets}
        for node in _within(nodes):
            if (node.domain, node.op_type) not in own:
                _check(node, versions.get(node.domain, _NEWEST))


def nodes_of(proto: onnx.ModelProto) -> Iterator[NodeProto]:
    """All nodes of a model, those of functions and branches too."""
    yield from _within([*proto.graph.node, *(node for function in proto.functions for node in function.node)])


def shorten_domains(proto: onnx.ModelProto) -> None:
    """Write the domain `ai.onnx` as everyone does: empty. A file without operators of ONNX names no opset."""
    of_functions = (entry for function in proto.functions for entry in function.opset_import)
    for entry in (*proto.opset_import, *proto.functions, *of_functions, *nodes_of(proto)):
        if entry.domain == _ALIAS:
            entry.domain = ""
    imported = {entry.domain for entry in proto.opset_import}
    for domain in {"", *(node.domain for node in nodes_of(proto))} - imported:
        proto.opset_import.append(onnx.helper.make_opsetid(domain, 1 if domain else OPSET))


def _within(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and those of their branches and bodies."""
    # Not by calling itself: a file may nest deeper than Python's stack is.
    waiting = [*nodes]
    while waiting:
        yield (node := waiting.pop())
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting += graph.node


def _check(node: NodeProto, version: int) -> None:
    schema = _schema(node, version)
    if schema is None:
        return
    what = f"node {node.name or next(iter(node.output), '')!r} ({node.op_type})"
    for place, formal in enumerate(schema.inputs):
        # One that is left out in the middle has an empty name; only some inputs may be.
        is_named = place < len(node.input) and bool(node.input[place])
        if (formal.option == _SINGLE and not is_named) or len(node.input) <= place < schema.min_input:
            raise ModelError(f"{what} has no input {formal.name!r}, which it requires; export it again")
    if len(node.output) < schema.min_output:
        raise ModelError(f"{what} makes {len(node.output)} values, not {schema.min_output}; export it again")
    held = {attribute.name: attribute for attribute in node.attribute}
    for name, formal in schema.attributes.items():
        given = held.get(name)
        if given is None:
            if formal.required:
                raise ModelError(f"{what} has no attribute {name!r}, which it requires; export it again")
        # In a function an attribute may name one of the call's, and have no value yet.
        elif given.type != formal.type.value and not given.ref_attr_name:
            kind = AttributeProto.AttributeType.Name(formal.type.value)
            raise ModelError(f"{what} has an attribute {name!r} that is not of type {kind}; export it again")


def _schema(node: NodeProto, version: int) -> OpSchema | None:
    """What its operator demands; None for one that ONNX does not know.

    Some exporters write operators that are newer than the opset which they name.
    """
    for newest in (version, _NEWEST):
        try:
            return onnx.defs.get_schema(node.op_type, newest, node.domain)
        except (onnx.defs.SchemaError, TypeError):
            continue
    return None
