"""Which values are never negative, by the operators that make them: they may use unsigned integers."""

from __future__ import annotations

import onnx_ir as ir

_ALWAYS = frozenset(
    {"Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Relu", "Sigmoid", "Softmax",
     "Softplus", "Sqrt", "ThresholdedRelu"}
)  # fmt: skip
_KEPT = frozenset(
    {"AveragePool", "Cast", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalAveragePool",
     "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape",
     "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Upsample"}
)  # fmt: skip
"""Never negative where the first input is not."""
_OF_ALL = frozenset({"Add", "Concat", "Max", "Mean", "Min", "Mul", "Sum"})
"""Never negative where no input is."""
_LARGEST_CONSTANT = 1 << 20


def never_negative(graph: ir.Graph) -> frozenset[str]:
    """Names of the values that cannot be below 0, whatever the model is fed; one pass over a sorted graph."""
    positive: set[ir.Value] = set()

    def holds(value: ir.Value | None) -> bool:
        if value is not None and value.const_value is not None:
            # Weights may be computed lazily: those of a large layer would be made for this question alone.
            small = value.const_value.size <= _LARGEST_CONSTANT
            return small and bool((value.const_value.numpy() >= 0).all())
        return value in positive

    for node in graph:
        # An operator of another domain may have a known name and compute something else.
        if node.domain not in ("", "ai.onnx"):
            continue
        op, inputs = node.op_type, node.inputs
        is_kept = op in _KEPT or (op == "Resize" and _keeps(node))
        is_floored = op == "Clip" and len(inputs) > 1 and _is_floor(inputs[1])
        if (
            op in _ALWAYS
            or is_floored
            or (is_kept and holds(inputs[0]))
            or (op in _OF_ALL and all(map(holds, inputs)))
        ):
            positive |= set(node.outputs)
    return frozenset(str(value.name) for value in positive)


def _keeps(node: ir.Node) -> bool:
    """Whether a Resize gives no value outside of those that it reads: a cubic one overshoots."""
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "nearest"
    outside = node.attributes.get_float("extrapolation_value", 0.0)
    return mode in ("nearest", "linear") and outside >= 0


def _is_floor(low: ir.Value | None) -> bool:
    """Whether a Clip's lowest value is a constant from 0 up."""
    return low is not None and low.const_value is not None and float(low.const_value.numpy().min()) >= 0
