"""The two products of attention, found by their Softmax: queries with keys, probabilities with values."""

from __future__ import annotations

import onnx_ir as ir

QK, PV = "qk", "pv"
_STEPS = 8
"""Most operators between a product and the Softmax: a scale, a mask, a reshape."""
_BEFORE = frozenset({"Add", "Cast", "Clip", "Div", "Identity", "Mul", "Reshape", "Sub", "Transpose", "Where"})
_BEHIND = frozenset({"Cast", "Dropout", "Identity", "Reshape", "Transpose", "Where"})


def attention_part(node: ir.Node) -> str:
    """`QK` or `PV` for a product of two activations around a Softmax; empty for any other node."""
    if node.op_type != "MatMul" or any(v is None or v.const_value is not None for v in node.inputs):
        return ""
    if _is_behind_softmax(node.inputs[0]):
        return PV
    return QK if _leads_to_softmax(node.outputs[0]) else ""


def _is_behind_softmax(value: ir.Value | None) -> bool:
    for _ in range(_STEPS):
        maker = value.producer() if value is not None else None
        if maker is None:
            return False
        if maker.op_type == "Softmax":
            return True
        if maker.op_type not in _BEHIND:
            return False
        # The first input of a Where is its condition: a mask, not what is computed on.
        places = maker.inputs[1:] if maker.op_type == "Where" else maker.inputs[:1]
        value = next(filter(_is_computed, places), None)
    return False


def _leads_to_softmax(value: ir.Value) -> bool:
    for _ in range(_STEPS):
        readers = list(value.consumers())
        if len(readers) != 1:
            return False
        if readers[0].op_type == "Softmax":
            return True
        if readers[0].op_type not in _BEFORE:
            return False
        value = readers[0].outputs[0]
    return False


def _is_computed(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is None
