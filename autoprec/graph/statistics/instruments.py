"""Copies of a float model that tell of their activations: whole, or at a few places of each.

Copying every activation out costs more than computing them. For thousands of samples a few places of each do.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
import onnx_ir as ir

LARGEST = "autoprec/largest/"
PLACES = "autoprec/places/"
STEP = 8
"""Places are so far apart, along the two axes of an image, or along the rows of a matrix."""


def observing(model: ir.Model, observed: Set[str]) -> ir.Model:
    """A copy whose outputs are the observed activations and, for all others, the largest magnitude alone."""
    copy = model.clone()
    graph = copy.graph
    made = [v for node in list(graph) for v in node.outputs if v.dtype == ir.DataType.FLOAT]
    outputs = [value for value in made if value.name in observed]
    for value in made:
        if value.name in observed:
            continue
        name = f"{LARGEST}{value.name}"
        magnitude = ir.Value(name=f"{name}/abs", type=ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
        largest = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([]))
        graph.append(ir.Node("", "Abs", [value], outputs=[magnitude], name=f"{name}/Abs"))
        keep = [ir.AttrInt64("keepdims", 0)]
        graph.append(ir.Node("", "ReduceMax", [magnitude], keep, outputs=[largest], name=f"{name}/ReduceMax"))
        outputs.append(largest)
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    return copy


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
        axes = [axis for axis in range(1, rank) if axis != observed[str(value.name)] % rank]
        name = f"{PLACES}{value.name}"
        numbers = {"starts": [0] * len(axes), "ends": [2**31] * len(axes), "axes": axes,
                   "steps": [STEP] * len(axes)}  # fmt: skip
        constants = [_constant(graph, f"{name}/{key}", array) for key, array in numbers.items()]
        result = ir.Value(name=name, type=value.type)
        graph.append(ir.Node("", "Slice", [value, *constants], outputs=[result], name=f"{name}/Slice"))
        outputs.append(result)
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    return copy


def _constant(graph: ir.Graph, name: str, numbers: list[int]) -> ir.Value:
    tensor = ir.tensor(np.array(numbers, np.int64), name=name)
    value = ir.Value(
        name=name, shape=ir.Shape([len(numbers)]), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value
