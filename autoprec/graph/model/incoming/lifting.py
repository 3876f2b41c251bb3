"""Models that come quantised: their Q/DQ pairs are lifted off the float graph and kept beside it.

The float graph is what every pass sees; weights in it are those that the file's integers stand for. Where a
block is then given the precision that it came in, the pairs are put back as they were, scales and zero points
included. Producers: quantisation-aware training, ModelOpt, PyTorch, ONNX Runtime.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.grids.given import GIVEN, give
from autoprec.graph.grids.pairs import Array, Pair, lazy_tensor, spread
from autoprec.graph.model.forms.integers import INTEGER_OPS
from autoprec.graph.model.incoming.clipping import clipped
from autoprec.graph.model.incoming.levels import lift_levels
from autoprec.graph.model.passing import named

PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})
_INTEGER_OPS = frozenset(
    {"ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat",
     "MatMulNBits", "QAttention", "QLinearReduceMean", "QLinearWhere"}
)  # fmt: skip
"""What computes in integers, and is not written around: see `without_integers`."""
QUANTIZED_OPS = PAIR | INTEGER_OPS | _INTEGER_OPS
"""Ops of models that come quantised."""


def lift(model: ir.Model) -> None:
    """Take all Q/DQ pairs off a model, in place, and record them on the nodes and outputs that read them.

    What a pair clipped is still clipped. Raises `ModelError` naming a node quantised in another form.
    """
    graph = model.graph
    for node in graph:
        if node.op_type in _INTEGER_OPS:
            raise ModelError(
                f"node {named(node)!r} ({node.op_type}) computes in integers: quantise with static scales, "
                "into the QDQ format (Q/DQ pairs around float ops), or give the float model"
            )
    # First: the scale of such a DequantizeLinear is computed, which is refused in a pair.
    lift_levels(graph)
    for node in [node for node in graph if node.op_type == "DequantizeLinear"]:
        value, pair = _source(graph, node)
        if pair is not None and pair.stored is None:
            value = clipped(graph, value, pair)
        floats = node.outputs[0]
        for use in floats.uses():
            if pair is not None and use.node.op_type not in PAIR:
                give(use.node, use.idx, pair)
            use.node.replace_input_with(use.idx, value)
        if floats.is_graph_output():
            name = str(floats.name)
            output, copied = _as_output(graph, value, floats)
            if pair is not None:  # of a copy it is another pair: names of pairs are those of their values
                output.meta[GIVEN] = pair._replace(name=f"{name}/output/given") if copied else pair
        graph.remove(node, safe=True)
    _drop_quantizers(graph)


def _drop_quantizers(graph: ir.Graph) -> None:
    """Remove what only dequantisers read. Raises `ModelError` for a quantised value that is used as it is."""
    for node in [node for node in reversed(graph) if node.op_type == "QuantizeLinear"]:
        (output,) = node.outputs
        if output.uses() or output.is_graph_output():
            raise ModelError(
                f"node {named(node)!r}: what it quantises does not go straight into a DequantizeLinear; "
                "export the model with Q/DQ pairs around float ops"
            )
        graph.remove(node, safe=True)


def _source(graph: ir.Graph, node: ir.Node) -> tuple[ir.Value, Pair | None]:
    """The float value behind a DQ, and the pair; None for a bias in 32 bits, which is kept in floats."""
    read, name = node.inputs[0], str(node.outputs[0].name)
    assert read is not None
    maker = read.producer()
    if read.const_value is not None:
        tensor = read.const_value
        stored = lazy_tensor(f"{name}/given", tensor.dtype, tensor.shape, tensor.numpy)
        pair = _pair(node, name, tensor.dtype)._replace(stored=stored)
        return _constant(graph, pair), None if pair.kind == ir.DataType.INT32 else pair
    if maker is None or maker.op_type != "QuantizeLinear":
        raise ModelError(
            f"node {named(node)!r} dequantises what no QuantizeLinear makes ({read.name!r}); export the "
            "model with Q/DQ pairs around float ops"
        )
    value = maker.inputs[0]
    assert value is not None
    pair = _pair(node, name, _kind(maker))
    _refuse_unlike(maker, node, pair)
    if value.const_value is not None:
        # Float weights behind Q and DQ, as training leaves them: stored on their grid from here on.
        grid = ir.Tensor(_on_grid(value.const_value.numpy(), pair), dtype=pair.kind, name=pair.name)
        pair = pair._replace(stored=grid)
        return _constant(graph, pair), pair
    return value, pair


def _pair(node: ir.Node, name: str, kind: ir.DataType) -> Pair:
    """Scale and zero point of a Q or DQ node."""
    scale = _array(node, 1)
    if scale is None:
        raise ModelError(
            f"node {named(node)!r}: its scale is not a constant; export the model in inference mode"
        )
    zero = _array(node, 2)
    axis: int | None = node.attributes.get_int("axis", 1)
    block = int(node.attributes.get_int("block_size", False))
    if scale.size == 1:
        scale, axis, block = scale.reshape(()), None, 0
    zeros = None if zero is None else zero.reshape(scale.shape)
    return Pair(f"{name}/given", scale.astype(np.float32), kind, zeros, axis, block)


def _refuse_unlike(quantizer: ir.Node, node: ir.Node, pair: Pair) -> None:
    """Raises `ModelError` where one end of a pair has another scale or zero point than the other: it
    multiplies or shifts what goes through it."""
    own = _pair(quantizer, pair.name, pair.kind)
    alike = own.axis == pair.axis and np.array_equal(own.scale, pair.scale)
    if not (alike and np.array_equal(own.zeros(), pair.zeros())):
        raise ModelError(
            f"node {named(node)!r} dequantises by another scale or zero point than {named(quantizer)!r} "
            "quantises by; export the model with Q/DQ pairs that only round"
        )


def _kind(node: ir.Node) -> ir.DataType:
    """What a QuantizeLinear makes: ONNX means UINT8 where nothing says otherwise."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if zero is not None and zero.const_value is not None:
        return zero.const_value.dtype
    return ir.DataType(node.attributes.get_int("output_dtype", False) or ir.DataType.UINT8)


def _array(node: ir.Node, place: int) -> Array | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None or value.const_value is None:
        return None
    array: Array = value.const_value.numpy()
    return array


def _on_grid(array: Array, pair: Pair) -> Array:
    """A float tensor on the grid of a pair."""
    scaled = array / spread(pair, pair.scale, array.shape)
    if not pair.kind.is_integer():
        return scaled.astype(pair.kind.numpy())
    moved = np.rint(scaled) + spread(pair, pair.zeros(), array.shape)
    integers: Array = np.clip(moved, pair.kind.min, pair.kind.max).astype(pair.kind.numpy())
    return integers


def _constant(graph: ir.Graph, pair: Pair) -> ir.Value:
    """An initializer with the floats that stored integers stand for."""
    name = pair.name.removesuffix("/given")
    if name in graph.initializers:
        return graph.initializers[name]
    stored = pair.stored
    assert stored is not None

    def make() -> Array:
        shape = tuple(stored.shape.numpy())
        moved = stored.numpy().astype(np.float32) - spread(pair, pair.zeros(), shape)
        return np.asarray(moved * spread(pair, pair.scale, shape), np.float32)

    tensor = lazy_tensor(name, ir.DataType.FLOAT, stored.shape, make)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _as_output(graph: ir.Graph, value: ir.Value, result: ir.Value) -> tuple[ir.Value, bool]:
    """Make a value the output of the graph that a DQ made, under that name; a copy, if the value has a name
    to keep. Returns the output, and whether it is a copy."""
    name, place = str(result.name), list(graph.outputs).index(result)
    copied = value.producer() is None or value.is_graph_output()
    if copied:
        identity = ir.Node("", "Identity", [value], name=f"{name}/Identity")
        graph.append(identity)
        value = identity.outputs[0]
    result.name = f"{name}/dequantized"
    value.name, value.shape, value.type = name, result.shape, result.type
    graph.outputs[place] = value
    return value, copied
