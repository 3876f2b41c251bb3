"""What holds of a model between the steps of loading: each says what it requires, and what it ensures.

A condition is a function that gives the first thing that breaks it, or None. Loading does not check them, as
each would walk the whole graph: tests do, on random models, before and behind every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from autoprec.graph.model.aside import SMALL_BYTES
from autoprec.graph.model.incoming.lifting import QUANTIZED_OPS
from autoprec.graph.model.inputs import real_inputs
from autoprec.graph.model.passing import named
from autoprec.graph.model.upgrades.opset import OPSET

Condition = Callable[[ir.Model], str | None]


def inlined(model: ir.Model) -> str | None:
    """There are no functions."""
    return next((str(name) for name in model.functions), None)


def constants_lifted(model: ir.Model) -> str | None:
    """Constants are initializers, not nodes, but for outputs: an initializer may not be one everywhere."""
    return _first(model, lambda node: node.op_type == "Constant" and not node.outputs[0].is_graph_output())


def small_weights_read(model: ir.Model) -> str | None:
    """Only large tensors are in other files."""
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes <= SMALL_BYTES:
            return name
    return None


def inputs_fixed(model: ir.Model) -> str | None:
    """Inputs have sizes, and none is a constant."""
    for value in model.graph.inputs:
        sizes = value.shape
        if value not in real_inputs(model) or sizes is None or not all(isinstance(n, int) for n in sizes):
            return str(value.name)
    return None


def ordered(model: ir.Model) -> str | None:
    """Nodes stand behind what they read."""
    seen: set[ir.Node] = set()
    for node in model.graph:
        makers = (value.producer() for value in node.inputs if value is not None)
        if any(maker is not None and maker not in seen for maker in makers):
            return named(node)
        seen.add(node)
    return None


def straight(model: ir.Model) -> str | None:
    """There is no control flow."""
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return _first(model, lambda node: any(one.type in kinds for one in node.attributes.values()))


def without_pairs(model: ir.Model) -> str | None:
    """Operators of integers and Q/DQ pairs are taken off."""
    return _first(model, lambda node: node.domain == "" and node.op_type in QUANTIZED_OPS)


def in_fp32(model: ir.Model) -> str | None:
    """Halves are at the borders alone, behind Casts; unless no border is in FP32."""
    halves = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    borders = (*model.graph.inputs, *model.graph.outputs)
    if not any(value.dtype == ir.DataType.FLOAT for value in borders):
        return None
    values = (value for node in model.graph if node.op_type != "Cast" for value in node.outputs)
    return next((str(value.name) for value in values if value.dtype in halves), None)


def at_last_opset(model: ir.Model) -> str | None:
    """Operators are those of the opset that is written."""
    opset = model.graph.opset_imports.get("", OPSET)
    return None if opset >= OPSET else f"opset {opset}"


def typed(model: ir.Model) -> str | None:
    """The type of every value is known."""
    return next((str(value.name) for value in _results(model) if value.type is None), None)


def read(model: ir.Model) -> str | None:
    """Everything is read, or is an output."""
    makes_nothing = _first(
        model, lambda node: not any(value.uses() or value.is_graph_output() for value in node.outputs)
    )
    idle = (n for n, value in model.graph.initializers.items() if not value.uses())
    return makes_nothing or next((n for n in idle if n not in {v.name for v in model.graph.outputs}), None)


def uniquely_named(model: ir.Model) -> str | None:
    """Nodes have names, each another."""
    seen: set[str | None] = {None, ""}
    for node in model.graph:
        if node.name in seen:
            return named(node)
        seen.add(node.name)
    return None


def _first(model: ir.Model, breaks: Callable[[ir.Node], bool]) -> str | None:
    return next((named(node) for node in model.graph if breaks(node)), None)


def _results(model: ir.Model) -> Iterator[ir.Value]:
    return (value for node in model.graph for value in node.outputs if value.name)
