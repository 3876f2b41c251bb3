"""Fourier transforms along the axis that engines take: the first behind the batch.

OpenVINO (2026.4.1) reads no axis that is an input, as ONNX has it since opset 20.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoprec.graph.model.passing import constant, placed, replace

_TAKEN = 1


def along_first_axis(graph: ir.Graph) -> None:
    """Transpose the inputs of DFT nodes along other axes, and transpose their results back, in place.

    The graph has shapes and is at the last opset.
    """
    for node in list(graph):
        source = node.inputs[0] if node.op_type == "DFT" and node.domain == "" else None
        if source is None or source.shape is None:
            continue
        axis = _axis(node)
        if axis is not None and (place := placed(axis, len(source.shape))) != _TAKEN:
            _write(graph, node, place)


def _axis(node: ir.Node) -> int | None:
    """The axis of a transform; None where it is only known when the model runs."""
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        # ONNX's default: the last axis holds real and imaginary parts.
        return -2
    return None if given.const_value is None else int(given.const_value.numpy())


def _write(graph: ir.Graph, node: ir.Node, axis: int) -> None:
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    assert source.shape is not None
    order = list(range(len(source.shape)))
    # A swap is its own inverse: the same order turns the result back.
    order[_TAKEN], order[axis] = axis, _TAKEN
    turned = ir.node("Transpose", [source], {"perm": order}, name=f"{node.name}/turned")
    taken = constant(graph, f"{output.name}/axis", np.array(_TAKEN, np.int64))
    inputs = [turned.outputs[0], node.inputs[1] if len(node.inputs) > 1 else None, taken]
    transform = ir.node("DFT", inputs, dict(node.attributes), name=node.name)
    for value, ending, like in (
        (turned.outputs[0], "turned", source),
        (transform.outputs[0], "there", output),
    ):
        value.name, value.type = f"{output.name}/{ending}", like.type
        value.shape = ir.Shape([like.shape[place] for place in order]) if like.shape is not None else None
    back = ir.node("Transpose", [transform.outputs[0]], {"perm": order}, name=f"{node.name}/back")
    replace(graph, node, [turned, transform, back])
