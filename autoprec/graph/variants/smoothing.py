"""SmoothQuant: the scale of an activation's channels moves into the weights that read them.

Source: Xiao et al., "SmoothQuant", ICML 2023 (arXiv:2211.10438); folding as in Nagel et al., "Data-Free
Quantization", ICCV 2019 (arXiv:1906.04721). Where the value is made by an op that is linear in its channels
(a convolution, a product, a norm; ReLU between them), the factors go into that op's constants and cost
nothing. Behind any other (hard-swish, a residual Add) they are a Mul of their own, which an engine may fuse
with the quantisation that follows: the search measures what it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.ops.matrices import activation_axis, by_input, by_output, is_weighted, matrices, restored
from autoprec.graph.statistics.channels import ChannelCounts
from autoprec.graph.statistics.histogram import Histogram
from autoprec.graph.statistics.ranges import range_of
from autoprec.graph.variants.edits import Edits, Scaling, Work

Floats = NDArray[Any]
Slots = dict[tuple[str, int], NDArray[np.float32]]

ALPHAS = (0.5, 0.65, 0.8, 0.9, 1.0)
"""How much of the activation's differences the weights take; each value gets the best of these."""
_PERCENTILE = 99.99
"""Alphas are compared by ranges of this percentile: quick, and which method is used hardly matters there."""
_LARGEST_FACTOR = 2.0**10
_HOMOGENEOUS = frozenset({"Relu", "LeakyRelu"})
"""f(cx) = c f(x) for c > 0."""
_NORMS = {"LayerNormalization": -1, "BatchNormalization": 1}
"""Norms, which are linear in each output channel as weighted ops are, and their axis of channels. Of all of
them the second and the third input scale with the channel."""


class Group(NamedTuple):
    """Nodes of a block that read the same activation, and so share its factors."""

    value: ir.Value
    readers: tuple[ir.Node, ...]


def smoothable(nodes: Sequence[ir.Node]) -> list[Group]:
    """Groups of a block's nodes that can be smoothed: those that agree on the axis and number of channels."""
    readers_of: dict[ir.Value, list[ir.Node]] = {}
    for node in nodes:
        if is_weighted(node) and (value := node.inputs[0]) is not None:
            readers_of.setdefault(value, []).append(node)
    return [
        Group(value, tuple(readers))
        for value, readers in readers_of.items()
        if len({(activation_axis(node), _channels(node)) for node in readers}) == 1
    ]


def cure(edits: Edits, work: Work) -> Edits:  # noqa: ARG001 - it is the first
    """The pass of `+smooth`."""
    channels, label = work.histograms.channels, work.precision.name
    return smooth(work.block, work.nodes, channels, work.choose, work.precision.largest, label)


def smooth(
    block: str,
    nodes: Sequence[ir.Node],
    channels: Mapping[str, ChannelCounts],
    choose: Callable[[Histogram], float],
    levels: float,
    label: str,
) -> Edits:
    """The edits that smooth every quantised activation of a block.

    Args:
        block: its name.
        nodes: its nodes.
        channels: statistics of activations by value name; one without stays as it is.
        choose: largest magnitude to represent of a histogram.
        levels: largest value of the grid, 127 for INT8.
        label: of the variant; distinguishes its constants from those of others.
    """
    slots: Slots = {}
    scalings: list[Scaling] = []
    ranges: dict[str, float] = {}
    by_node: dict[str, NDArray[np.float32]] = {}
    for value, readers in smoothable(nodes):
        counts = channels.get(str(value.name))
        if counts is None or len(counts.largest) != _channels(readers[0]) or not counts.largest.any():
            continue
        weights = [matrices(node, _constant(slots, node, 1)) for node in readers]
        factors = _factors(counts, weights, levels)
        # Divided here, multiplied where the value is made: the float model computes the same.
        for node, weight in zip(readers, weights, strict=True):
            shape = _constant(slots, node, 1).shape
            slots[str(node.name), 1] = restored(node, weight / by_input(weight, factors), shape)
            by_node[str(node.name)] = factors
        limit = choose(counts.scaled(factors))
        # Folded, the value keeps its name and has another range; a Mul
        # makes a new value, and the old one stays.
        if _fold(slots, value, readers, set(nodes), factors):
            ranges[str(value.name)] = limit
        else:
            name = f"autoprec/smooth/{value.name}/{block}"
            ranges[name] = limit
            axis = activation_axis(readers[0])
            rank = len(value.shape or ())
            shape = tuple(-1 if i == axis % rank else 1 for i in range(rank))
            names = tuple(str(node.name) for node in readers)
            scalings.append(Scaling(str(value.name), name, factors.reshape(shape), names))
    tensors = {
        key: ir.tensor(array, name=f"autoprec/{label}/{key[0]}/{key[1]}") for key, array in slots.items()
    }
    return Edits(tensors, tuple(scalings), ranges, by_node)


def _factors(counts: ChannelCounts, weights: Sequence[Floats], levels: float) -> NDArray[np.float32]:
    """Factors of the best alpha, float32 [channels], scaled to a geometric mean of 1."""
    # A channel that is always 0 would be divided by; a millionth of
    # the largest is below any step of the grid.
    largest = np.maximum(counts.largest, counts.largest.max() * 1e-6).astype(np.float64)
    reach = np.max([np.abs(weight).max(axis=(1, 3)).reshape(-1) for weight in weights], axis=0)
    reach = np.maximum(reach, reach.max() * 1e-6 + 1e-30).astype(np.float64)
    if all(weight.shape[2] == 1 for weight in weights):
        # One input for each output: the weight's own scale takes all of the factor, whatever it is.
        reach = np.ones_like(reach)
    squares = counts.mean_squares()
    best, error = np.ones_like(largest), np.inf
    for alpha in ALPHAS:
        factors = reach ** (1 - alpha) / largest**alpha
        # A common factor would change no error, only the magnitudes of both operands.
        factors /= np.exp(np.log(factors).mean())
        # A channel that is nearly always 0 asks for a factor without bound, which FP16 could not hold.
        factors = np.clip(factors, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
        scaled = counts.scaled(factors)
        step = range_of(scaled, method="percentile", percentile=_PERCENTILE) / levels
        expected = sum(_error(weight, factors, squares, step, levels) for weight in weights)
        if expected < error:
            best, error = factors, expected
    chosen: NDArray[np.float32] = best.astype(np.float32)
    return chosen


def _error(weight: Floats, factors: Floats, squares: Floats, step: float, levels: float) -> float:
    """Expected squared error over the signal, summed over outputs: noise of a step's width on all operands.

    Relative, since outputs of a model whose channels differ by decades are read by weights that do so too.
    """
    scaled = weight / by_input(weight, factors)
    steps = np.abs(scaled).max(axis=(2, 3)) / levels
    inputs = np.square(by_input(weight, factors)) * by_input(weight, squares)
    # A step^2 / 12 of each; the twelfth is common to both, and only sums are compared.
    of_activations = step**2 * np.square(scaled).sum(axis=(2, 3))
    of_weights = np.square(steps) * inputs.sum(axis=(2, 3)) * weight.shape[3]
    signal = (np.square(weight) * by_input(weight, squares)).sum(axis=(2, 3))
    return float(((of_activations + of_weights) / np.maximum(signal, 1e-30)).sum())


def _fold(
    slots: Slots, value: ir.Value, readers: Sequence[ir.Node], inside: set[ir.Node], factors: Floats
) -> bool:
    """Put the factors into the constants of what makes `value`; False where that is not linear.

    Everything between must be read by nobody else, and be of this block: other blocks have their own variant.
    """
    wanted, output = set(readers), value
    while True:
        maker = output.producer()
        if maker is None or maker not in inside or output.is_graph_output():
            return False
        # Another reader, or a reader of it as weights or bias, would see scaled values and take nothing back.
        if any(use.node not in wanted or use.idx != 0 for use in output.uses()):
            return False
        if maker.op_type not in _HOMOGENEOUS:
            break
        wanted = {maker}
        assert maker.inputs[0] is not None
        output = maker.inputs[0]
    return _fold_into(slots, maker, readers[0], factors)


def _fold_into(slots: Slots, maker: ir.Node, reader: ir.Node, factors: Floats) -> bool:
    """Scale the constants of a maker by output channel; False if it is not linear in them."""
    norm = maker.op_type in _NORMS
    if not (norm or is_weighted(maker)):
        return False
    constants = {p: value for p, value in enumerate(maker.inputs) if p in (1, 2) and value is not None}
    if any(value.const_value is None for value in constants.values()):
        return False
    # The axis that the maker scales must be the axis of channels to the reader, with no Reshape in between.
    if _NORMS.get(maker.op_type, activation_axis(maker)) != activation_axis(reader):
        return False
    arrays = {place: _constant(slots, maker, place) for place in constants}
    vectors = [array for place, array in arrays.items() if norm or place == 2]
    # A bias of one number would have to be made wider to be scaled by channel.
    if any(array.shape != factors.shape for array in vectors):
        return False
    for place, array in arrays.items():
        if norm or place == 2:
            slots[str(maker.name), place] = array * factors
        else:
            matrix = matrices(maker, array)
            slots[str(maker.name), place] = restored(maker, matrix * by_output(matrix, factors), array.shape)
    return True


def _constant(slots: Slots, node: ir.Node, place: int) -> NDArray[np.float32]:
    """A node's constant input, as edited so far or else as it came."""
    key = (str(node.name), place)
    if key in slots:
        return slots[key]
    value = node.inputs[place]
    assert value is not None
    assert value.const_value is not None
    array: NDArray[np.float32] = value.const_value.numpy()
    return array


def _channels(node: ir.Node) -> int:
    """How many channels a weighted op reads."""
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    form = matrices(node, weight.const_value.numpy())
    return int(form.shape[0] * form.shape[2])
