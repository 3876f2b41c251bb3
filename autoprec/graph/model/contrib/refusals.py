"""Refusals of models that are valid ONNX and cannot be searched, naming the node."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.model.passing import named

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def refuse_control_flow(model: ir.Model) -> None:
    """Raise `ModelError` for control flow whose course is only known when the model runs."""
    for node in model.graph:
        if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
            raise ModelError(
                f"node {named(node)!r} is control flow ({node.op_type}) that only its run decides, or of "
                "thousands of nodes: export the model with fixed shapes and conditions"
            )


def refuse_random(model: ir.Model) -> None:
    """Raise `ModelError` for operators that draw at random: no two runs agree."""
    for node in model.graph:
        is_training = node.op_type == "Dropout" and len(node.inputs) > 2 and _is_true(node.inputs[2])
        if node.domain == "" and (node.op_type in _RANDOM or is_training):
            raise ModelError(
                f"node {named(node)!r} ({node.op_type}) draws at random, so no two runs agree and nothing "
                "can be compared: export the model for inference, with the noise as an input if it needs any"
            )


def _is_true(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and bool(value.const_value.numpy().any())


def refuse_untyped(model: ir.Model) -> None:
    """Raise `ModelError` for values of unknown type, where no Cast can go, and for models without FP32."""
    outputs = [(node, value) for node in model.graph for value in node.outputs if value.name]
    for node, value in outputs:
        if value.type is None:
            raise ModelError(
                f"{node.op_type} of domain {node.domain!r} makes {value.name!r}, whose type is unknown; "
                "save the model without ONNX Runtime's optimisations, or export it with operators of ONNX"
            )
    types = {value.dtype for _, value in outputs if value.dtype is not None}
    if outputs and ir.DataType.FLOAT not in types:
        names = ", ".join(sorted(data_type.name for data_type in types))
        raise ModelError(f"computes in {names}, nothing in FP32; export it in FP32 to search from")


def refuse_namesakes(model: ir.Model) -> None:
    """Raise `ModelError` for operators of other domains that are called as one of ONNX's."""
    # Rooms behind this one go by the name alone: costs, placement and the writer would take it for ONNX's.
    for node in model.graph:
        if node.domain != "" and onnx.defs.has(node.op_type):
            raise ModelError(
                f"node {named(node)!r}: {node.op_type} of domain {node.domain!r} has the name of an operator "
                "of ONNX; give it another name, or export the model with operators of ONNX"
            )
