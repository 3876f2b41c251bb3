"""A model's outputs: their sizes, and the last operator, which decides what their values mean."""

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
_TELLING = frozenset(
    {
        "And", "ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "HardSigmoid", "Less", "LessOrEqual",
        "LogSoftmax", "Not", "Or", "Relu", "Sigmoid", "Softmax", "Tanh", "Xor",
    }
)  # fmt: skip


def model_outputs(graph: ir.Graph) -> tuple[ModelOutput, ...]:
    """Every output of a graph, in order."""
    return tuple(map(_output, graph.outputs))


def _output(output: ir.Value) -> ModelOutput:
    sizes = tuple(size if isinstance(size, int) else None for size in output.shape or ())
    value: ir.Value | None = output
    scale, ending = 1.0, ""
    while value is not None and (node := value.producer()) is not None and node.inputs:
        factor = _factor(node)
        if node.op_type in _TELLING or _keeps_to_0_1(node):
            ending = node.op_type
        if ending or (node.op_type not in _MOVING and factor is None):
            break
        scale *= 1.0 if factor is None else factor
        value = node.inputs[0]
    return ModelOutput(name=str(output.name), shape=sizes, ending=ending, scale=scale if ending else 1.0)


def _factor(node: ir.Node) -> float | None:
    """What a Mul or Div by one constant multiplies its first input by; None for any other node."""
    other = node.inputs[1] if node.op_type in ("Mul", "Div") and len(node.inputs) == 2 else None
    constant = None if other is None else other.const_value
    if constant is None or constant.size != 1:
        return None
    figure = float(constant.numpy().item())
    # A negative factor turns a threshold round: what was above it is below.
    if figure <= 0:
        return None
    return figure if node.op_type == "Mul" else 1 / figure


def _keeps_to_0_1(node: ir.Node) -> bool:
    """Whether a Clip ends at 0 and 1."""
    if node.op_type != "Clip":
        return False
    ends = [value.const_value for value in node.inputs[1:3] if value is not None]
    limits = [float(end.numpy()) for end in ends if end is not None and end.size == 1]
    # Before opset 11 a Clip has its bounds as attributes.
    limits = limits or [
        node.attributes[name].as_float() for name in ("min", "max") if name in node.attributes
    ]
    return limits == [0.0, 1.0]
