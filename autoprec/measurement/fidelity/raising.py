"""A file in FP16 or BF16 rewritten in FP32, to see what it computes without that rounding; and Resizes that
ONNX Runtime truncates between integers, made to round.

Written apart from `autoprec.graph.model.upgrades.raising`, which it judges.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, numpy_helper
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from autoprec.graph.model.forms.folding import fold

_MOST_BYTES = 1 << 30
"""FP32 takes twice as much, and a file holds no more than 2 GiB."""
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_LEVELS = (TensorProto.INT8, TensorProto.UINT8)


_INTEGERS = ("QuantizeLinear", "QLinear", "QGemm")
"""How operators begin whose results are levels."""
_MOVING = frozenset({"MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Resize"})
"""Operators that pass levels on."""


def write_raised(path: Path, target: Path, *, rounds: bool = False) -> bool:
    """Write a file with FP32 in the place of FP16 and BF16; returns whether there is anything to write.

    Args:
        path: the file; one of more than 1 GiB is left alone.
        target: what to write.
        rounds: let each Resize that interpolates between levels round, too, as one of floats behind a Q/DQ
            pair does; ONNX Runtime (1.32) cuts them.
    """
    held = ir.load(path)
    weights = [value.const_value for value in held.graph.initializers.values()]
    if sum(weight.nbytes for weight in weights if weight is not None) > _MOST_BYTES:
        return False
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(held)
    fold(held.graph)  # what is rounded before the model runs is a constant's value
    model: onnx.ModelProto = ir.to_proto(ir.external_data.load_to_model(held))
    del model.graph.value_info[:]
    tensors = list(_tensors(model.graph))
    halves = [tensor for tensor in tensors if tensor.data_type in _HALVES]
    for tensor in halves:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        )
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype", "output_dtype") and attribute.i in _HALVES:
                attribute.i = TensorProto.FLOAT
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type in _HALVES:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    is_other = bool(halves) | (rounds and _round_resizes(model.graph))
    if is_other:
        onnx.save(model, target)
    return is_other


def _round_resizes(graph: onnx.GraphProto) -> bool:
    """Interpolate between levels in floats, and round. Returns whether any Resize does so."""
    levels: dict[str, int] = {}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        kind = levels.get(node.input[0]) if node.op_type in _MOVING else None
        if node.op_type.startswith(_INTEGERS):  # the zero point of the result comes last
            zeros = [kinds[name] for name in node.input if kinds.get(name) in _LEVELS]
            kind = (zeros or [TensorProto.UINT8])[-1]
        if kind is not None:
            levels[node.output[0]] = kind
        modes = [attribute.s for attribute in node.attribute if attribute.name == "mode"]
        if node.op_type != "Resize" or kind is None or modes in ([], [b"nearest"]):
            nodes.append(node)
            continue
        stem = node.output[0]
        wide = onnx.helper.make_node("Cast", [node.input[0]], [f"{stem}/wide"], to=TensorProto.FLOAT)
        round_off = onnx.helper.make_node("Round", [f"{stem}/between"], [f"{stem}/whole"])
        narrow = onnx.helper.make_node("Cast", [f"{stem}/whole"], [stem], to=kind)
        node.input[0], node.output[0] = f"{stem}/wide", f"{stem}/between"
        nodes += [wide, node, round_off, narrow]
    is_other = len(nodes) > len(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return is_other


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from (attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t"))
