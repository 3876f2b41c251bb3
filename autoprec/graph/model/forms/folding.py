"""Constants that a model computes from constants, computed at loading: weights behind a Cast, a weight norm.

So they are weights to all that comes after: scales for each channel, learned rounding, scaled channels. Large
ones are computed when they are read, and let go, as all weights are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from autoprec.graph.grids.given import give, given
from autoprec.graph.grids.pairs import Array, Pair, lazy_tensor
from autoprec.graph.model.inference import close

_MOVING = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
"""Ops that put values elsewhere and change none: the pair of a quantised weight passes through them."""
_FOLDABLE = _MOVING | frozenset(
    {"Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape", "Cos", "CumSum",
     "Div", "Equal", "Erf", "Exp", "Expand", "Floor", "Gather", "GatherElements", "GatherND", "Greater",
     "GreaterOrEqual", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mod", "Mul", "Neg", "NonZero",
     "Not", "Or", "Pad", "Pow", "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean",
     "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Round", "ScatterND", "Shape",
     "Sigmoid", "Sign", "Sin", "Slice", "Split", "Sqrt", "Sub", "Tanh", "Tile", "Trilu", "Where", "Xor"}
)  # fmt: skip
_STEPS = "autoprec.steps"
_AT_ONCE = 1 << 16
"""Bytes up to which a constant is computed at loading; above, each time that it is read."""
_MOST_CLAIMED = 1 << 26
"""Values of a result of unknown shape up to which it is computed: a few bytes may ask for terabytes."""
_GROWTH = 2
"""A constant that is larger than this many times what it is made of stays computed: files would grow."""
_MOST_STEPS = 256
"""Nodes that are computed for one reading of a constant; above, it stays computed. A value that each node
reads twice takes twice as many with every node."""


def fold(graph: ir.Graph, *, shapes: bool = False) -> None:
    """Replace nodes that read constants alone by initializers, in place.

    Args:
        graph: sorted, with shapes.
        shapes: what Shape gives for a value with a known shape is constant too.
    """
    stored = _stored(graph)
    for node in list(graph):
        if shapes:
            close(node)
        if shapes and node.op_type in ("Shape", "Size") and node.domain == "":
            _fold_shape(graph, node)
            continue
        if not _is_foldable(node):
            continue
        pair = given(node).get(0)
        # Folded without its pair, the weight would lose the integers that the file has for it.
        if pair is not None and (moved := _moved(node, pair)) is None:
            continue
        tensors = _tensors(node, stored)
        if tensors is None:
            continue
        for value, tensor in zip(node.outputs, tensors, strict=True):
            _replace(graph, value, tensor, None if pair is None else moved)
        graph.remove(node, safe=True)
    outputs = set(graph.outputs)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in outputs:
            graph.initializers.pop(name)


def _fold_shape(graph: ir.Graph, node: ir.Node) -> None:
    value, output = node.inputs[0], node.outputs[0]
    if value is None or value.shape is None or not value.shape.is_static() or output.is_graph_output():
        return
    sizes = np.array([int(str(size)) for size in value.shape], np.int64)
    if node.op_type == "Size":
        folded = np.array(sizes.prod(), np.int64)
    else:
        end = node.attributes.get_int("end", len(sizes))
        folded = sizes[node.attributes.get_int("start", 0) : end]
    _replace(graph, output, ir.tensor(folded, name=output.name), None)
    graph.remove(node, safe=True)


def _is_foldable(node: ir.Node) -> bool:
    if node.domain != "" or node.op_type not in _FOLDABLE or not node.inputs:
        return False
    if any(value is not None and value.const_value is None for value in node.inputs):
        return False
    if any(value.is_graph_output() or not value.name for value in node.outputs):
        return False
    # Only the pair of the first input can move along with its values.
    return not (set(given(node)) - {0})


def _stored(graph: ir.Graph) -> int:
    """Bytes of the weights that the model's file holds."""
    tensors = (value.const_value for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None and not _steps(tensor))


def _steps(tensor: ir.TensorProtocol) -> int:
    """How many nodes are computed when a constant is read: none for a stored one."""
    steps: int = tensor.meta.get(_STEPS, 0)
    return steps


def _tensors(node: ir.Node, stored: int) -> list[ir.TensorProtocol] | None:
    """The outputs of a node; None where they are too large, or their size is unknown.

    Args:
        node: one that reads constants alone.
        stored: bytes of the weights that the model's file holds.
    """
    inputs = {str(v.name): v.const_value for v in node.inputs if v is not None and v.const_value is not None}
    held = sum(tensor.nbytes for tensor in inputs.values())
    compute = partial(_computed, ir.to_proto(node), inputs, _opset(node))
    sizes = [_bytes(value) for value in node.outputs]
    static = [size for size in sizes if size is not None]
    # Of what is stored too: each of many nodes in a row may double what it reads.
    if len(static) == len(sizes) and sum(static) > max(_AT_ONCE, _GROWTH * min(held, stored)):
        return None
    if len(static) < len(sizes) and (held > _AT_ONCE or _claimed(node, inputs) > _MOST_CLAIMED):
        return None
    if max(sum(static), held) <= _AT_ONCE or len(static) < len(sizes):
        try:
            arrays = compute()
        except Exception:  # noqa: BLE001 - whatever the evaluator cannot do, the engine does
            return None
        return [ir.tensor(array, name=value.name) for array, value in zip(arrays, node.outputs, strict=True)]
    steps = 1 + sum(map(_steps, inputs.values()))
    if steps > _MOST_STEPS:
        return None
    return [_later(value, place, compute, steps) for place, value in enumerate(node.outputs)]


def _claimed(node: ir.Node, inputs: dict[str, ir.TensorProtocol]) -> float:
    """Most values of the result of an op whose inputs' values say how many it has; 0 for any other."""
    arrays = [inputs[str(value.name)].numpy() for value in node.inputs if value is not None]
    if not arrays or not all(array.size for array in arrays):
        return 0
    sizes = [float(size) for size in arrays[-1].ravel()] if arrays[-1].dtype.kind in "iu" else []
    match node.op_type:
        case "ConstantOfShape":
            return math.prod(sizes)
        case "Expand" | "Tile":
            return math.prod(sizes, start=float(arrays[0].size))
        case "Range" if len(arrays) == 3:
            start, limit, step = (float(array.ravel()[0]) for array in arrays)
            return (limit - start) / step if step else math.inf
        case "Pad" if len(arrays) > 1:
            more = float(np.abs(arrays[1].astype(float)).sum())
            return float(math.prod(size + more for size in arrays[0].shape))
    return 0


def _later(value: ir.Value, place: int, compute: partial[list[Array]], steps: int) -> ir.TensorProtocol:
    assert value.dtype is not None
    assert value.shape is not None
    tensor = lazy_tensor(str(value.name), value.dtype, value.shape, lambda: compute()[place])
    tensor.meta[_STEPS] = steps
    return tensor


def _computed(node: onnx.NodeProto, inputs: dict[str, ir.TensorProtocol], opset: int) -> list[Array]:
    values = [
        onnx.helper.make_tensor_value_info(n, t.dtype.value, list(t.shape.numpy())) for n, t in inputs.items()
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = onnx.helper.make_graph([node], "constants", values, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    feeds = {name: tensor.numpy() for name, tensor in inputs.items()}
    with np.errstate(all="ignore"):  # masks are made by dividing by zero, and of logarithms of it
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]


def _opset(node: ir.Node) -> int:
    assert node.graph is not None
    return node.graph.opset_imports[""]


def _bytes(value: ir.Value) -> int | None:
    if value.dtype is None or value.shape is None or not value.shape.is_static():
        return None
    return math.ceil(math.prod(int(str(size)) for size in value.shape) * value.dtype.itemsize)


def _replace(graph: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol, pair: Pair | None) -> None:
    name = str(value.name)
    kind, shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
    constant = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
    value.name = f"{name}/computed"
    graph.register_initializer(constant)
    for use in value.uses():
        if pair is not None:
            give(use.node, use.idx, pair)
        use.node.replace_input_with(use.idx, constant)


def _moved(node: ir.Node, pair: object) -> Pair | None:
    """The pair of a weight behind an op that moves its values; None where it has no form there."""
    value = node.outputs[0]
    if not isinstance(pair, Pair) or pair.stored is None or pair.block or node.op_type not in _MOVING:
        return None
    if value.shape is None or not value.shape.is_static():
        return None
    shape = [int(str(size)) for size in value.shape]
    before, axis = [int(size) for size in pair.stored.shape.numpy()], pair.axis
    if axis is not None:
        place = _place_of(node, before, axis % len(before), shape)
        if place is None:
            return None
        axis = place
    stored = pair.stored
    perm = _perm(node, len(before)) if node.op_type == "Transpose" else None

    def make() -> Array:
        array = stored.numpy()
        return np.ascontiguousarray(array.reshape(shape) if perm is None else array.transpose(perm))

    grid = lazy_tensor(f"{value.name}/given", stored.dtype, ir.Shape(shape), make)
    return pair._replace(name=f"{value.name}/given", axis=axis, stored=grid)


def _place_of(node: ir.Node, before: Sequence[int], axis: int, after: Sequence[int]) -> int | None:
    """Where the axis of scales is after a move."""
    if node.op_type == "Transpose":
        return _perm(node, len(before)).index(axis)
    for place, size in enumerate(after):
        # Still one axis after a Reshape: as long, and with as many values in front of it.
        if size == before[axis] and math.prod(after[:place]) == math.prod(before[:axis]):
            return place
    return None


def _perm(node: ir.Node, rank: int) -> list[int]:
    return list(node.attributes.get_ints("perm", list(reversed(range(rank)))))
