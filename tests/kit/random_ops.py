"""What random models are made of: each function adds an op, sometimes with the nodes around it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from hypothesis import strategies as st

from random_graphs import CHANNELS, IMAGE, ROWS, SIZE, Draw, Graph

C, S, PLACES = CHANNELS, SIZE, SIZE * SIZE


def convolution(graph: Graph) -> None:
    groups = (1, 2, C)[graph.choose(3)]
    inputs = [graph.image(), graph.weight(C, C // groups, 3, 3), *[graph.weight(C)] * graph.choose(2)]
    graph.add("Conv", inputs, IMAGE, pads=[1] * 4, group=groups)


def residual(graph: Graph) -> None:
    image = graph.image()
    branch = graph.add("Conv", [image, graph.weight(C, C, 1, 1)], IMAGE)
    graph.add("Add", [image, branch] if graph.choose(2) else [branch, image], IMAGE)


def upsampling(graph: Graph) -> None:
    groups = (1, 2)[graph.choose(2)]
    kernel = graph.weight(C, C // groups, 2, 2)
    large = graph.add("ConvTranspose", [graph.image(), kernel], (1, C, 12, 12), strides=[2, 2], group=groups)
    graph.add("AveragePool", [large], IMAGE, kernel_shape=[2, 2], strides=[2, 2])


def computed_kernel(graph: Graph) -> None:
    kernel = graph.add("Mul", [graph.weight(C, 1, 1, 1), graph.weight(1)], (C, 1, 1, 1))
    graph.add("Conv", [graph.image(), kernel], IMAGE, group=C)


def turned_weight(graph: Graph) -> None:
    turned = graph.add("Transpose", [graph.weight(C, C)], (C, C), perm=[1, 0])
    graph.add("MatMul", [graph.rows(), turned], ROWS)


def product(graph: Graph) -> None:
    weight = graph.weight(*((C, C), (1, C, C))[graph.choose(2)])
    graph.add("MatMul", [graph.rows(), weight], ROWS)


def fused_projection(graph: Graph) -> None:
    wide = graph.add("MatMul", [graph.rows(), graph.weight(C, 3 * C)], (1, PLACES, 3 * C))
    if graph.choose(2):
        wide = graph.add("Add", [wide, graph.weight(3 * C)], (1, PLACES, 3 * C))
    if graph.choose(2):
        graph.add("Split", [wide], ROWS, outputs=3, axis=2, num_outputs=3)
        return
    heads = graph.add("Reshape", [wide, graph.constant([1, PLACES, 3, 2, C // 2])], (0,))
    moved = graph.add("Transpose", [heads], (0,), perm=[2, 0, 3, 1, 4])
    for index in range(2):
        part = graph.add("Gather", [moved, graph.constant(np.int64(index - 1))], (0,), axis=0)
        graph.add("Reshape", [part, graph.constant(ROWS)], ROWS)


def product_from_the_left(graph: Graph) -> None:
    graph.add("MatMul", [graph.weight(PLACES, PLACES), graph.rows()], ROWS)


def long_product(graph: Graph) -> None:
    wide = graph.add("MatMul", [graph.rows(), graph.weight(C, 64)], (1, PLACES, 64))
    graph.add("MatMul", [wide, graph.weight(64, C)], ROWS)


def attention(graph: Graph) -> None:
    rows = graph.rows()
    turned = graph.add("Transpose", [rows], (1, C, PLACES), perm=[0, 2, 1])
    scores = graph.add("MatMul", [turned, graph.rows()], (1, C, C))
    graph.add("MatMul", [rows, graph.add("Softmax", [scores], (1, C, C), axis=-1)], ROWS)


def linear_attention(graph: Graph) -> None:
    queries, keys = (graph.add("Relu", [graph.rows()], ROWS) for _ in range(2))
    turned = graph.add("Transpose", [keys], (1, C, PLACES), perm=[0, 2, 1])
    kept = graph.add("MatMul", [turned, graph.rows()], (1, C, C))
    above = graph.add("MatMul", [queries, kept], ROWS)
    total = graph.add("ReduceSum", [turned, graph.constant([2])], (1, C, 1))
    below = graph.add("MatMul", [queries, total], (1, PLACES, 1))
    below = graph.add("Add", [below, graph.constant(np.array([1e-15], np.float32))], (1, PLACES, 1))
    graph.add("Div", [above, below], ROWS)


def einsum(graph: Graph) -> None:
    graph.add("Einsum", [graph.rows(), graph.weight(C, C)], ROWS, equation="bij,jk->bik")


def gemm(graph: Graph) -> None:
    flat = graph.add("Reshape", [graph.rows(), graph.constant([PLACES, C])], (PLACES, C))
    left = graph.choose(2)
    inputs = [flat, graph.weight(C, C), *[graph.weight(C)] * graph.choose(2)]
    if left:
        flat = graph.add("Transpose", [flat], (C, PLACES), perm=[1, 0])
        inputs[0] = flat
    graph.add("Gemm", inputs, (PLACES, C), transA=left, transB=graph.choose(2), alpha=0.5)


def unary(graph: Graph) -> None:
    op = graph.one_of("Relu", "HardSwish", "Sigmoid", "Gelu", "Tanh", "Softplus", "Erf", "Abs", "Identity")
    graph.add(op, [graph.image()], IMAGE)


def binary(graph: Graph) -> None:
    op = graph.one_of("Add", "Sub", "Mul", "Max")
    graph.add(op, [graph.image(), graph.image()], IMAGE)


def with_constant(graph: Graph) -> None:
    op = graph.one_of("Add", "Mul", "PRelu")
    graph.add(op, [graph.image(), graph.weight(C, 1, 1)], IMAGE)


def divided(graph: Graph) -> None:
    graph.add("Div", [graph.image(), graph.constant(np.array([3.0], np.float32))], IMAGE)


def power(graph: Graph) -> None:
    two = graph.constant(np.int64(2) if graph.choose(2) else np.float32(2))
    graph.add("Pow", [graph.image(), two], IMAGE)


def clip(graph: Graph) -> None:
    limits = ["", graph.constant(np.float32(6))] if graph.choose(2) else [graph.constant(np.float32(-1e38))]
    graph.add("Clip", [graph.image(), *limits], IMAGE)


def layer_norm(graph: Graph) -> None:
    graph.add("LayerNormalization", [graph.rows(), graph.weight(C), graph.weight(C)], ROWS, axis=-1)


def batch_norm(graph: Graph) -> None:
    positive = graph.constant(np.linspace(0.1, 2, C).astype(np.float32))
    inputs = [graph.image(), *(graph.weight(C) for _ in range(3)), positive]
    graph.add("BatchNormalization", inputs, IMAGE)


def instance_norm(graph: Graph) -> None:
    graph.add("InstanceNormalization", [graph.image(), graph.weight(C), graph.weight(C)], IMAGE)


def concat_and_split(graph: Graph) -> None:
    both = graph.add("Concat", [graph.image(), graph.image()], (1, 2 * C, S, S), axis=1)
    graph.add("Split", [both], IMAGE, outputs=2, axis=1, num_outputs=2)


def resize(graph: Graph) -> None:
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    mode = graph.one_of("linear", "nearest", "cubic")
    large = graph.add("Resize", [graph.image(), "", scales], (1, C, 2 * S, 2 * S), mode=mode)
    graph.add("MaxPool", [large], IMAGE, kernel_shape=[2, 2], strides=[2, 2])


def excitation(graph: Graph) -> None:
    image = graph.image()
    pooled = graph.add("GlobalAveragePool", [image], (1, C, 1, 1))
    scale = graph.add("Conv", [pooled, graph.weight(C, C, 1, 1)], (1, C, 1, 1))
    graph.add("Mul", [image, graph.add("HardSigmoid", [scale], (1, C, 1, 1))], IMAGE)


def turned(graph: Graph) -> None:
    flat = graph.add("Reshape", [graph.image(), graph.constant([1, C, PLACES])], (1, C, PLACES))
    graph.add("Transpose", [flat], ROWS, perm=[0, 2, 1])


def padded(graph: Graph) -> None:
    large = graph.add("Pad", [graph.image(), graph.constant([0, 0, 1, 1, 0, 0, 1, 1])], (1, C, S + 2, S + 2))
    cut = [graph.constant([place, place]) for place in (1, S + 1)]
    graph.add("Slice", [large, *cut, graph.constant([2, 3])], IMAGE)


def reduced(graph: Graph) -> None:
    image = graph.image()
    mean = graph.add("ReduceMean", [image, graph.constant([2, 3])], (1, C, 1, 1), keepdims=1)
    graph.add("Sub", [image, mean], IMAGE)


def best_rows(graph: Graph) -> None:
    rows = graph.rows()
    best = graph.add("ArgMax", [rows], (0,), axis=1, keepdims=0)
    graph.add("Gather", [rows, best], (0,), axis=1)


def largest(graph: Graph) -> None:
    graph.add("TopK", [graph.rows(), graph.constant([3])], (0,), outputs=2, axis=1)


def chosen(graph: Graph) -> None:
    image = graph.image()
    mask = graph.add("Greater", [image, graph.constant(np.float32(0.1))], (0,))
    graph.add("Where", [mask, image, graph.image()], IMAGE)


def to_integers_and_back(graph: Graph) -> None:
    whole = graph.add("Cast", [graph.image()], (0,), to=onnx.TensorProto.INT32)
    graph.add("Cast", [whole], IMAGE, to=onnx.TensorProto.FLOAT)


def through_double(graph: Graph) -> None:
    double = graph.add("Cast", [graph.image()], (0,), to=onnx.TensorProto.DOUBLE)
    graph.add("CastLike", [double, graph.image()], IMAGE)


def by_shape(graph: Graph) -> None:
    image = graph.image()
    shape = graph.add("Shape", [image], (0,))
    graph.add("Add", [image, graph.add("ConstantOfShape", [shape], IMAGE)], IMAGE)


def sampled(graph: Graph) -> None:
    grid = graph.constant(np.random.default_rng(0).uniform(-1, 1, (1, S, S, 2)).astype(np.float32))
    graph.add("GridSample", [graph.image(), grid], IMAGE, mode="linear")


def shuffled(graph: Graph) -> None:
    large = graph.add("DepthToSpace", [graph.image()], (1, C // 4, 2 * S, 2 * S), blocksize=2)
    graph.add("SpaceToDepth", [large], IMAGE, blocksize=2)


def given_pair(graph: Graph) -> None:
    kind = (np.int8, np.uint8)[graph.choose(2)]
    grid = [graph.constant(np.float32(0.1)), graph.constant(kind(3 * graph.choose(2)))]
    stored = graph.add("QuantizeLinear", [graph.image(), *grid], (0,))
    graph.add("DequantizeLinear", [stored, *grid], IMAGE)


def given_weights(graph: Graph) -> None:
    stored = np.random.default_rng(0).integers(-127, 128, (C, C, 1, 1)).astype(np.int8)
    scales = graph.constant(np.linspace(0.001, 0.01, C, dtype=np.float32))
    pair = [graph.constant(stored), scales, graph.constant(np.zeros(C, np.int8))]
    kernel = graph.add("DequantizeLinear", pair, (0,), axis=0)
    given_pair(graph)
    graph.add("Conv", [graph.values[-1][0], kernel, *[graph.weight(C)] * graph.choose(2)], IMAGE)


QUANTIZED = (given_pair, given_weights)
OPS: tuple[Callable[[Graph], None], ...] = (
    convolution, residual, upsampling, computed_kernel, turned_weight, product, product_from_the_left,
    long_product, attention, linear_attention, einsum, gemm, unary, binary, with_constant, divided, power,
    clip, layer_norm, batch_norm, instance_norm, concat_and_split, resize, excitation, turned, padded,
    reduced, best_rows, largest, chosen, to_integers_and_back, through_double, by_shape, sampled, shuffled,
)  # fmt: skip


@st.composite
def models(
    draw: Draw, most: int = 14, *, quantized: bool = False, projecting: bool = False
) -> onnx.ModelProto:
    """A model of 2 to `most` random ops, with Q/DQ pairs of its own or fused projections if that is asked."""
    graph, ops = Graph(draw), OPS + QUANTIZED * 5 * quantized + (fused_projection,) * 20 * projecting
    for _ in range(draw(st.integers(2, most))):
        ops[graph.choose(len(ops))](graph)
    return graph.model()
