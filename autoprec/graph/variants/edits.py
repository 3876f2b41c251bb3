"""What a variant changes in a block before precisions are written: data, and the pass that applies it.

The edited model is a float model still. Scaled channels and the weights that take the scale back compute
the same but for rounding; learned rounding and corrected biases are small changes of constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.statistics.histogram import Histogram
from autoprec.graph.statistics.moments import Moments
from autoprec.graph.statistics.ranges import Histograms
from autoprec.precisions import Precision

Array = NDArray[Any]


class Scaling(NamedTuple):
    """A value times a constant, for the first input of some nodes.

    Attributes:
        value: name of what is scaled.
        name: of the result, and of the Mul that makes it.
        factors: float32, broadcastable to the value.
        nodes: names of the nodes that read the result instead.
    """

    value: str
    name: str
    factors: NDArray[np.float32]
    nodes: tuple[str, ...]


class Edits(NamedTuple):
    """The changes of one block.

    Attributes:
        constants: (node name, input place) to what it reads there instead; a place behind the node's last
            input adds one.
        scalings: multiplications that are put in.
        ranges: largest magnitude to represent of values that are new or changed, by name.
        factors: what the channels of a node's first input are multiplied by, by node name.
    """

    constants: Mapping[tuple[str, int], ir.TensorProtocol]
    scalings: tuple[Scaling, ...] = ()
    ranges: Mapping[str, float] = {}
    factors: Mapping[str, NDArray[np.float32]] = {}


class Work(NamedTuple):
    """What a pass has to work with, for one block and one variant.

    Attributes:
        block, nodes: the block's name and its nodes; untouched.
        precision: the variant.
        histograms: of calibration, with those of channels.
        moments: second moments of what weighted ops multiply, by node name.
        choose: largest magnitude to represent of a histogram.
        steps: given edits so far, the width of a step of each node's first input, by node name.
    """

    block: str
    nodes: Sequence[ir.Node]
    precision: Precision
    histograms: Histograms
    moments: Mapping[str, Moments]
    choose: Callable[[Histogram], float]
    steps: Callable[[Edits], Mapping[str, float]]


class EditedModel(NamedTuple):
    """A copy of a model with the edits of its blocks, and the block of each node that is new."""

    model: ir.Model
    homes: dict[str, str]


def edited(model: ir.Model, edits: Mapping[str, Edits]) -> EditedModel:
    """A copy of a model with the edits of its blocks.

    Args:
        model: loaded; untouched.
        edits: by block name; one node is edited by one block.
    """
    result = model.clone()
    nodes = {str(node.name): node for node in result.graph}
    values = {str(v.name): v for node in result.graph for v in (*node.inputs, *node.outputs) if v is not None}
    homes: dict[str, str] = {}
    for block, changes in edits.items():
        for (name, place), tensor in changes.constants.items():
            _read_constant(result.graph, nodes[name], place, tensor)
        for scaling in changes.scalings:
            _scale(result.graph, values[scaling.value], scaling, [nodes[name] for name in scaling.nodes])
            homes[scaling.name] = block
    return EditedModel(result, homes)


def _read_constant(graph: ir.Graph, node: ir.Node, place: int, tensor: ir.TensorProtocol) -> None:
    if place == len(node.inputs):
        # A bias that the node came without is one more input.
        node.resize_inputs(place + 1)
    node.replace_input_with(place, _constant(graph, tensor))


def _scale(graph: ir.Graph, value: ir.Value, scaling: Scaling, readers: list[ir.Node]) -> None:
    factors = _constant(graph, ir.tensor(scaling.factors, name=f"{scaling.name}/factors"))
    result = ir.Value(name=scaling.name, shape=value.shape, type=value.type)
    node = ir.Node("", "Mul", [value, factors], outputs=[result], name=scaling.name)
    maker = value.producer()
    if maker is None:
        # An input of the graph has no maker: in front of all nodes it is before its readers, too.
        graph.insert_before(graph[0], node)
    else:
        graph.insert_after(maker, node)
    for reader in readers:
        reader.replace_input_with(0, result)


def _constant(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """The initializer of that name; the same tensor is the same value."""
    name = str(tensor.name)
    if name not in graph.initializers:
        value = ir.Value(
            name=name,
            shape=ir.Shape(tensor.shape.numpy()),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        graph.register_initializer(value)
    return graph.initializers[name]
