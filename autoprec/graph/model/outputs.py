"""What a model's outputs are like: their sizes, and the last operator that decides what their values mean."""

from __future__ import annotations

import onnx_ir as ir

from autoprec.records import ModelOutput

_MOVING = frozenset(
    {
        "Cast", "CenterCropPad", "DequantizeLinear", "Dropout", "Expand", "Flatten", "Gather", "Identity",
        "Pad", "QuantizeLinear", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
        "Upsample",
    }
)  # fmt: skip
"""Operators that leave values as they are, or between their neighbours."""
_TELLING = frozenset({"ArgMax", "ArgMin", "HardSigmoid", "LogSoftmax", "Relu", "Sigmoid", "Softmax", "Tanh"})


def model_outputs(graph: ir.Graph) -> tuple[ModelOutput, ...]:
    """Every output of a graph, in order."""
    return tuple(
        ModelOutput(name=str(value.name), shape=_sizes(value.shape), ending=_ending(value))
        for value in graph.outputs
    )


def _sizes(shape: ir.Shape | None) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape or ())


def _ending(value: ir.Value | None) -> str:
    """The operator that an output's values come of, if it says what they mean."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type in _TELLING:
            return str(node.op_type)
        if _keeps_to_0_1(node):
            return "Clip"
        if node.op_type not in _MOVING or not node.inputs:
            return ""
        value = node.inputs[0]
    return ""


def _keeps_to_0_1(node: ir.Node) -> bool:
    """Whether a Clip ends at 0 and 1."""
    if node.op_type != "Clip":
        return False
    ends = [value.const_value for value in node.inputs[1:3] if value is not None]
    found = [float(end.numpy()) for end in ends if end is not None and end.size == 1]
    found = found or [node.attributes[name].as_float() for name in ("min", "max") if name in node.attributes]
    return found == [0.0, 1.0]
