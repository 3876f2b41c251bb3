"""Finding fused projections: products by constant weights whose columns are taken in parts.

Attention often multiplies by the weights of queries, keys and values in one go, and takes its parts by Split,
Gather or Slice, in most exports behind a Reshape and a Transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.graph.grids.given import given
from autoprec.graph.ops.matrices import is_weighted


class Part(NamedTuple):
    """What one output of a Split, a Gather or a Slice holds.

    Attributes:
        value: the output.
        axis: of the value that it is taken from.
        start, stop: along this axis.
        drops: whether `value` is without the axis.
    """

    value: ir.Value
    axis: int
    start: int
    stop: int
    drops: bool


class Projection(NamedTuple):
    """A product that is taken in parts.

    Attributes:
        chain: the product and, as far as they exist, the Add of its bias, a Reshape and a Transpose.
        axis: that holds the parts, in what the Reshape makes, or else the product.
        columns: of the weights in one step along that axis.
        parts: without those that nothing reads, by where they start.
    """

    chain: tuple[ir.Node, ...]
    axis: int
    columns: int
    parts: tuple[Part, ...]


def projection(node: ir.Node) -> Projection | None:
    """The projection that begins with a node; None if it is no product or not taken in parts."""
    if node.op_type not in ("MatMul", "Gemm") or not is_weighted(node):
        return None
    if any(value is not None and value.const_value is None for value in node.inputs[1:]):
        return None
    chain = _chain(node)
    parts = _all_parts(chain[-1].outputs[0])
    if parts is None or any(map(given, chain)):
        return None
    axis, mover = parts[0].axis, chain[-1]
    axis = order(mover)[axis] if mover.op_type == "Transpose" else axis
    columns = _columns(chain, axis)
    if columns is None or (any(part.drops for part in parts) and _reshape(chain) is None):
        return None
    # An output of a Split that nobody reads would only be multiplied for nothing.
    read = tuple(part for part in parts if part.value.uses() or part.value.is_graph_output())
    return Projection(chain, axis, columns, read)


def order(transpose: ir.Node) -> list[int]:
    """The permutation of a Transpose, its default included."""
    rank = len(transpose.outputs[0].shape or ())
    return list(transpose.attributes.get_ints("perm", range(rank)[::-1]))


def _chain(node: ir.Node) -> tuple[ir.Node, ...]:
    """The product and its only followers: the Add of constants, a Reshape, and a Transpose behind that.

    Behind a Transpose alone TensorRT-RTX (1.7.1) multiplies the whole in INT8, FP8 and NVFP4.
    """
    chain = [node]
    for op, fits in (("Add", _adds_constants), ("Reshape", _is_static)):
        reader = _reader(chain[-1].outputs[0], op)
        chain += [reader] if reader is not None and fits(reader) else []
    turn = _reader(chain[-1].outputs[0], "Transpose") if chain[-1].op_type == "Reshape" else None
    return (*chain, turn) if turn is not None else tuple(chain)


def _reader(value: ir.Value, op: str) -> ir.Node | None:
    """The node of an op that alone reads a value."""
    readers = [use.node for use in value.uses()]
    alone = len(readers) == 1 and not value.is_graph_output()
    return readers[0] if alone and readers[0].op_type == op else None


def _adds_constants(node: ir.Node) -> bool:
    """Whether one operand is constant, and columns stay columns."""
    computed = [value for value in node.inputs if value is None or value.const_value is None]
    ends = [value.shape[-1] for value in (*computed, *node.outputs) if value is not None and value.shape]
    # A constant that broadcasts the product to more columns leaves no column where it was.
    return len(computed) == 1 and len(ends) == 2 and ends[0] == ends[1]


def _is_static(node: ir.Node) -> bool:
    """Whether all lengths of what a node reads and makes are known."""
    shapes = [None if value is None else value.shape for value in (node.inputs[0], node.outputs[0])]
    return all(shape is not None and shape.is_static() for shape in shapes)


def _reshape(chain: Sequence[ir.Node]) -> ir.Node | None:
    return next((node for node in chain if node.op_type == "Reshape"), None)


def _columns(chain: Sequence[ir.Node], axis: int) -> int | None:
    """Columns of the product in one step along an axis; None if it is not the first one made of them."""
    reshape = _reshape(chain)
    product = next(node for node in reversed(chain) if node.op_type != "Transpose").outputs[0]
    if reshape is None:
        return 1 if product.shape is not None and axis == len(product.shape) - 1 else None
    before, after = (_lengths(value) for value in (reshape.inputs[0], product))
    # Parts are whole runs of columns only along the first axis that the Reshape splits the last one into.
    is_first = prod(after[:axis]) == prod(before[:-1]) and prod(after[axis:]) == before[-1]
    return prod(after[axis + 1 :]) if is_first else None


def _lengths(value: ir.Value | None) -> list[int]:
    shape = None if value is None else value.shape
    return [length for length in shape or () if isinstance(length, int)]


def _all_parts(value: ir.Value) -> list[Part] | None:
    """The parts taken of a value, by start; None unless all its readers take disjoint parts of one axis."""
    ordered = list[Part]()
    for reader, place in value.uses():
        parts = _PARTS[reader.op_type](reader, value) if reader.op_type in _PARTS and place == 0 else None
        if parts is None or given(reader):
            return None
        ordered += parts
    ordered.sort(key=lambda part: part.start)
    # Parts that overlap would multiply the same columns twice.
    is_apart = all(one.stop <= other.start for one, other in pairwise(ordered))
    is_fused = len(ordered) > 1 and len({part.axis for part in ordered}) == 1
    return ordered if is_apart and is_fused and not value.is_graph_output() else None


def _split(node: ir.Node, value: ir.Value) -> list[Part] | None:
    axis = node.attributes.get_int("axis", 0) % len(value.shape or (0,))
    outputs, start = list[Part](), 0
    for output in node.outputs:
        length = output.shape[axis] if output.shape is not None else None
        if not isinstance(length, int) or length < 1:
            return None
        outputs.append(Part(output, axis, start, start + length, drops=False))
        start += length
    return outputs


def _gather(node: ir.Node, value: ir.Value) -> list[Part] | None:
    lengths, index = _lengths(value), _array(node, 1)
    if index is None or index.ndim or len(lengths) != len(value.shape or ()):
        return None
    axis = node.attributes.get_int("axis", 0) % len(lengths)
    start = int(index) % lengths[axis]
    return [Part(node.outputs[0], axis, start, start + 1, drops=True)]


def _slice(node: ir.Node, value: ir.Value) -> list[Part] | None:
    lengths, defaults = _lengths(value), (None, None, np.zeros(1, np.int64), np.ones(1, np.int64))
    given_arrays = [_array(node, place) for place in range(1, len(node.inputs))]
    bounds = [array for array in (*given_arrays, *defaults[len(given_arrays) :]) if array is not None]
    if len(bounds) != 4 or any(array.size != 1 for array in bounds) or len(lengths) != len(value.shape or ()):
        return None
    first, last, axis, step = (int(array.reshape(())) for array in bounds)
    start, stop, _ = slice(first, last).indices(lengths[axis])
    if step != 1 or start >= stop:
        return None
    return [Part(node.outputs[0], axis % len(lengths), start, stop, drops=False)]


_PARTS = {"Split": _split, "Gather": _gather, "Slice": _slice}


def _array(node: ir.Node, place: int) -> NDArray[Any] | None:
    value = node.inputs[place]
    return None if value is None or value.const_value is None else value.const_value.numpy()
