"""Copies of a float model that expose their activations: whole, or at a few places of each.

Copying every activation out costs more than computing them. For thousands of samples a few places of each do.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.ops.scores import MASKED, scores

FLOAT = ir.DataType.FLOAT
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators whose output holds the numbers of their first input, each once."""
LARGEST = "autoprec/largest/"
PLACES = "autoprec/places/"
STEP = 8
"""Places are so far apart, along the two axes of an image, or along the rows of a matrix."""


def views(model: ir.Model, observed: Set[str]) -> dict[str, str]:
    """Names of the values that are not observed and whose largest magnitude is that of another one, with its
    name: the same numbers in another shape or order, which count alike. A ViT moves as many as it computes.
    """
    graph = model.graph
    masked, kept = scores(graph), {value.name for value in graph.outputs}
    sources: dict[str, str] = {}
    measured: set[str] = set()
    for node in graph:
        for value in (value for value in node.outputs if value.dtype == FLOAT and value.name not in observed):
            name, source = str(value.name), str(node.inputs[0].name) if node.inputs and node.inputs[0] else ""
            source = sources.get(source, source)
            is_view = node.op_type in _VIEWS and source in measured
            if is_view and (name in masked, name in kept) == (source in masked, source in kept):
                sources[name] = source
            else:
                measured.add(name)
    return sources


def observing(model: ir.Model, observed: Set[str]) -> ir.Model:
    """A copy whose outputs are the observed activations and, for all others but `views`, the largest
    magnitude.

    Of what goes into a Softmax alone the largest number counts, not the most negative one. Masks count
    nowhere: see `scores`. An output of the model counts whole.
    """
    copy = model.clone()
    graph, derived = copy.graph, views(model, observed)
    masked, kept = scores(graph), {value.name for value in graph.outputs}
    floats = [v for node in list(graph) for v in node.outputs if v.dtype == FLOAT and v.name not in derived]
    outputs = [value for value in floats if value.name in observed]
    limit = _constant(graph, f"{LARGEST}limit", np.array(MASKED, np.float32))
    zero = _constant(graph, f"{LARGEST}zero", np.array(0, np.float32))
    for value in floats:
        if value.name in observed:
            continue
        name = f"{LARGEST}{value.name}"
        magnitude = _added(
            graph, "Relu" if value.name in masked else "Abs", [value], f"{name}/magnitude", value.shape
        )
        if value.name not in kept:
            small = _added(graph, "Less", [magnitude, limit], f"{name}/Less", value.shape, ir.DataType.BOOL)
            magnitude = _added(graph, "Where", [small, magnitude, zero], f"{name}/Where", value.shape)
        # Reduced inside the engine: one number leaves it instead of a whole activation.
        outputs.append(_added(graph, "ReduceMax", [magnitude], name, ir.Shape([]), keepdims=0))
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    return copy


def _added(
    graph: ir.Graph,
    op: str,
    inputs: list[ir.Value],
    name: str,
    shape: ir.Shape | None,
    kind: ir.DataType = FLOAT,
    **attributes: int,
) -> ir.Value:
    """One more node at the end of a graph, and its output."""
    result = ir.Value(name=name, type=ir.TensorType(kind), shape=shape)
    graph.append(ir.node(op, inputs, attributes, outputs=[result], name=f"{name}/{op}"))
    return result


def sampling(model: ir.Model, observed: Mapping[str, int]) -> ir.Model:
    """A copy whose outputs are evenly spread places of the observed activations, behind `PLACES`.

    Args:
        model: loaded.
        observed: names, and the axis that is kept whole: that of channels.
    """
    copy = model.clone()
    graph = copy.graph
    outputs = []
    for value in [v for node in list(graph) for v in node.outputs if v.name in observed]:
        rank = len(value.shape or ())
        # Not the batch: the stride would leave out samples instead of places.
        axes = [axis for axis in range(1, rank) if axis != observed[str(value.name)] % rank]
        name = f"{PLACES}{value.name}"
        numbers = {"starts": [0] * len(axes), "ends": [2**31] * len(axes), "axes": axes,
                   "steps": [STEP] * len(axes)}  # fmt: skip
        constants = [
            _constant(graph, f"{name}/{key}", np.array(array, np.int64)) for key, array in numbers.items()
        ]
        result = ir.Value(name=name, type=value.type)
        graph.append(ir.Node("", "Slice", [value, *constants], outputs=[result], name=f"{name}/Slice"))
        outputs.append(result)
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    return copy


def _constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value
