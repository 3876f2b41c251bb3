"""Scores of attention and the masks that are added to them: values that go nowhere but into a Softmax.

There minus infinity, or the most negative number, means "not this one": neither is a fault, a range or a
reason to refuse FP16.
"""

from __future__ import annotations

import onnx_ir as ir

MASKED = 1e30
"""Magnitudes from here on are masks: no layer computes them."""
_SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
_PASSING = frozenset(
    {"Add", "Sub", "Mul", "Div", "Where", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Expand",
     "Cast", "Max", "Clip", "Slice", "Concat", "Identity"}
)  # fmt: skip


def scores(graph: ir.Graph) -> frozenset[str]:
    """Names of the values of a sorted graph that reach nothing but a Softmax."""
    names: set[str] = set()
    outputs = set(graph.outputs)
    for node in reversed(graph):
        for value in node.outputs:
            uses = value.uses()
            # From the end on, so that readers are decided first. One that nothing reads leads to no Softmax.
            if value not in outputs and uses and all(_is_score(use.node, names) for use in uses):
                names.add(str(value.name))
    return frozenset(names)


def _is_score(reader: ir.Node, names: set[str]) -> bool:
    if reader.op_type in _SOFTMAX:
        return True
    return reader.op_type in _PASSING and all(str(value.name) in names for value in reader.outputs)
