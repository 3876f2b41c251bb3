"""Bringing a model up to the opset that typed candidates need, without copying its weights."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.model.aside import without_weights
from autoprec.graph.model.upgrades.sheltered import SHELTER, shelter, unshelter

OPSET = 22
"""The first opset whose Conv takes BFLOAT16."""
IR_VERSION = 10


def at_opset(model: ir.Model) -> ir.Model:
    """The model converted to `OPSET`; unchanged if it is at that opset or a later one.

    Raises `ModelError` where ONNX's version converter cannot do it.
    """
    have = model.graph.opset_imports.get("", 0)
    # A later opset stays: operators that it brought are in no earlier one.
    if have >= OPSET:
        return model
    shelter(model.graph, have)
    model.graph.opset_imports[SHELTER] = 1
    model.ir_version = max(model.ir_version, IR_VERSION)  # before 4, each initializer had to be an input too
    try:
        with without_weights(model) as (proto, weights):
            raised = onnx.version_converter.convert_version(proto, OPSET)
    except (
        RuntimeError,
        ValueError,
        onnx.version_converter.ConvertError,
        onnx.shape_inference.InferenceError,
    ) as error:
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise ModelError(
            f"opset {have} cannot be brought up to {OPSET} ({reason}); export it again, with opset {OPSET}"
        ) from error
    converted: ir.Model = ir.from_proto(raised)
    converted.metadata_props.update(model.metadata_props)
    converted.ir_version = model.ir_version
    # Large weights went in as inputs: they become initializers again, without having been copied.
    inputs = [value for value in converted.graph.inputs if value.name not in weights]
    lifted = [value for value in converted.graph.inputs if value.name in weights]
    converted.graph.inputs.clear()
    converted.graph.inputs.extend(inputs)
    for value in lifted:
        value.const_value = weights[str(value.name)]
        converted.graph.register_initializer(value)
    _keep_names(model, converted)
    unshelter(converted.graph)
    return converted


def _keep_names(before: ir.Model, after: ir.Model) -> None:
    """Give nodes that make the same value, and outputs, what was noted on them; the converter drops it."""
    makers = {value.name: node for node in before.graph for value in node.outputs}
    for node in after.graph:
        maker = makers.get(node.outputs[0].name)
        if maker is not None:
            node.name = maker.name or node.name
            node.metadata_props.update(maker.metadata_props)
            node.meta.update(maker.meta)
    outputs = {value.name: value for value in before.graph.outputs}
    for value in after.graph.outputs:
        value.meta.update(outputs[value.name].meta)
