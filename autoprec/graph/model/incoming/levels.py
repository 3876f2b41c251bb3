"""Values that come with scales on two levels, in NVFP4 as ModelOpt writes it: lifted off the graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.grids.given import give
from autoprec.graph.grids.levels import QUANTIZER, Levels
from autoprec.graph.grids.pairs import Array, lazy_tensor, over_blocks
from autoprec.graph.model.passing import named

_KINDS = (ir.DataType.FLOAT4E2M1, ir.DataType.FLOAT8E4M3FN)


def lift_levels(graph: ir.Graph) -> None:
    """Take such scales off a graph, in place, and record them on the nodes that read the values.

    Raises `ModelError` naming a node of another form.
    """
    for node in [node for node in graph if node.op_type == "DequantizeLinear"]:
        scales = node.inputs[1].producer() if node.inputs[1] is not None else None
        if scales is None or scales.op_type != "DequantizeLinear":
            continue
        floats = node.outputs[0]
        if floats.is_graph_output():
            raise ModelError(f"node {named(node)!r} makes an output of the model from 4-bit floats")
        value, levels = _source(graph, node, scales)
        for use in floats.uses():
            give(use.node, use.idx, levels)
            use.node.replace_input_with(use.idx, value)
        makers = [input_.producer() for input_ in node.inputs[:1] if input_ is not None]
        # From the last to the first: a node that is still read cannot be removed.
        for gone in (node, scales, *makers):
            if gone is not None and not any(output.uses() for output in gone.outputs):
                graph.remove(gone, safe=True)


def _source(graph: ir.Graph, node: ir.Node, scales: ir.Node) -> tuple[ir.Value, Levels]:
    """The float value behind two DQs, and its levels."""
    stored, fine, whole = node.inputs[0], scales.inputs[0], _constant(scales.inputs[1])
    assert stored is not None
    assert fine is not None
    block = int(node.attributes.get_int("block_size", False))
    # Shape inference does not know the quantiser.
    kinds = (stored.dtype or _KINDS[0], fine.dtype or _KINDS[1])
    if whole is None or whole.size != 1 or not block or kinds != _KINDS:
        raise ModelError(
            f"node {named(node)!r}: its scales are dequantised, but not for blocks and by one constant; "
            "export the model with Q/DQ pairs, or in NVFP4 as ModelOpt does"
        )
    name = str(node.outputs[0].name)
    axis = int(node.attributes.get_int("axis", 1))
    total = np.float32(whole.numpy().reshape(()))
    levels = Levels(f"{name}/given", *kinds, total, axis, block)
    if stored.const_value is not None and fine.const_value is not None:
        levels = levels._replace(stored=stored.const_value, scales=fine.const_value)
        return _floats(graph, name, levels), levels
    maker = stored.producer()
    if maker is None or maker.op_type != QUANTIZER or maker.inputs[0] is None:
        raise ModelError(
            f"node {named(node)!r} dequantises blocks that no {QUANTIZER} makes ({stored.name!r})"
        )
    shape = maker.inputs[0].shape
    if axis != -1 and shape is not None and axis != len(shape) - 1:
        raise ModelError(
            f"node {named(node)!r}: blocks of activations must lie along the last axis, not {axis}"
        )
    return maker.inputs[0], levels


def _floats(graph: ir.Graph, name: str, levels: Levels) -> ir.Value:
    """An initializer with the floats that stored weights stand for."""
    stored, scales = levels.stored, levels.scales
    assert stored is not None
    assert scales is not None

    def make() -> Array:
        fine = scales.numpy().astype(np.float32) * levels.whole
        length = stored.shape.numpy()[levels.axis]
        scaled = stored.numpy() * over_blocks(fine, levels.block, levels.axis, length)
        return np.asarray(scaled, np.float32)

    tensor = lazy_tensor(name, ir.DataType.FLOAT, stored.shape, make)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    return None if value is None else value.const_value
