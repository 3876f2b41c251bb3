"""Which inputs of which nodes take Q/DQ, node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from parsed_nodes import node_of

from autoprec.graph.ops.placement import (
    block_inputs,
    channel_axis,
    divides,
    is_in_blocks,
    may_be_flattened,
    may_be_quantized,
    places,
    quantized_inputs,
)
from autoprec.graph.ops.pointwise import becomes_product, is_pointwise
from autoprec.precisions import PRECISIONS

RANGES = {"x": 1.0, "z": 1.0, "c": 1.0, "d": 1.0}
CONV = "c = Conv<pads = [1,1,1,1]>(x, k)"
KERNEL = np.ones((4, 4, 3, 3), np.float32)


def ones(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        (f"{CONV}  y = Add(c, x)", (1,)),
        (f"{CONV}  y = Add(x, c)", (0,)),
        (f"{CONV}  y = Add(x, x)", ()),  # no branch
        (f"{CONV}  d = Conv<pads = [1,1,1,1]>(x, k)  y = Add(c, d)", ()),  # two of them
        (f"{CONV}  y = Add(c, one)", ()),  # a bias
        (f"{CONV}  d = Relu(c)  y = Add(c, x)", ()),  # the branch is read elsewhere, too
        (f"{CONV}  d = Relu(c)  y = Add(d, x)", ()),  # it does not end in a weighted op
        (f"{CONV}  y = Conv(c, k)", (0, 1)),
        (f"{CONV}  y = Relu(c)", ()),
        (f"{CONV}  y = Add(c, q)", ()),  # nothing is known of its values
    ],
)
def test_pairs_stand_at_both_sides_of_a_product_and_at_the_skip_of_a_residual(
    body: str, inputs: tuple[int, ...]
) -> None:
    text = f"(float[1,4,8,8] x, float[1,4,8,8] q) => (float[1,4,n,m] y) {{ {body} }}"
    node = node_of(text, k=KERNEL, one=ones(1))
    assert quantized_inputs(node, RANGES) == inputs
    assert may_be_quantized(node) is bool(inputs or "q" in body.partition("y =")[2])
    assert quantized_inputs(node, RANGES | {"x": 0.0, "c": 0.0}) == (), "half a pair runs dequantised"


def test_what_is_no_float32_takes_no_pair() -> None:
    node = node_of("(float16[2,4] x) => (float16[n,m] y) { y = MatMul(x, w) }", w=np.ones((4, 4), np.float16))
    assert quantized_inputs(node, RANGES) == ()


@pytest.mark.parametrize(
    ("body", "weights", "axis", "by_16", "by_64", "as_one"),
    [
        ("MatMul(x, w)", ones(64, 32), 1, (1,), (), (1,)),
        ("MatMul(w, x)", ones(32, 64), 0, (0,), (), (0,)),
        ("Gemm(x, w)", ones(64, 32), 1, (1,), (), (1,)),
        ("Gemm<transB = 1>(x, w)", ones(32, 64), 0, (1,), (), (1,)),
        ("Gemm<transA = 1>(w, x)", ones(64, 32), 1, (0,), (), (0,)),
        ("MatMul(x, w)", ones(64, 128), 1, (1,), (), (1,)),
        ("MatMul(x, w)", ones(72, 32), 1, (), (), (1,)),
        ("MatMul(x, w)", ones(2, 64, 32), None, (), (), ()),
    ],
)
def test_blocks_lie_along_the_axis_that_is_summed(
    body: str, weights: Any, axis: int | None, by_16: tuple[int, ...], by_64: tuple[int, ...], as_one: Any
) -> None:
    inner = weights.shape[1 - axis] if axis is not None else 64
    text = f"(float[{inner},{inner}] x) => (float y) {{ y = {body} }}"
    node = node_of(text, w=weights)
    weight = next(value for value in node.inputs if value is not None and value.is_initializer())
    assert channel_axis(node, weight) == axis
    assert (block_inputs(node, 16), block_inputs(node, 64), block_inputs(node, 0)) == (by_16, by_64, as_one)


@pytest.mark.parametrize(
    ("op", "axis"), [("Conv", 0), ("ConvTranspose", 1), ("ConvTranspose<group = 2>", None)]
)
def test_kernels_have_a_scale_for_each_output_channel(op: str, axis: int | None) -> None:
    node = node_of(f"(float[1,4,8,8] x) => (float y) {{ y = {op}(x, w) }}", w=KERNEL)
    assert node.inputs[1] is not None
    assert channel_axis(node, node.inputs[1]) == axis


def test_an_axis_divides_into_several_blocks_or_not_at_all() -> None:
    assert [length for length in (8, 16, 17, 24, 32, 48) if divides(length, 16)] == [32, 48]


@pytest.mark.parametrize(
    ("shape", "counts"), [("2,64", True), ("a,64", True), ("a,b,64", False), ("64", False)]
)
def test_a_product_in_blocks_can_be_put_into_two_axes_and_back(shape: str, counts: bool) -> None:
    node = node_of(f"(float[{shape}] x) => (float y) {{ y = MatMul(x, w) }}", w=ones(64, 32))
    assert is_in_blocks(node, 16) is counts
    assert bool(places(node, PRECISIONS["nvfp4"], RANGES)) is counts


def test_one_unknown_length_survives_flattening() -> None:
    assert may_be_flattened(ir.Shape([1, "n", 3]))
    assert not may_be_flattened(ir.Shape(["m", "n", 3]))


@pytest.mark.parametrize(
    ("precision", "ranges", "inputs"),
    [
        ("int8", RANGES, (0, 1)),
        ("int8", {}, ()),
        ("nvfp4", RANGES, (0, 1)),
        ("int4", {}, (1,)),
        ("int8-weights", {}, (1,)),
        ("fp16", RANGES, ()),
    ],
)
def test_a_precision_decides_about_activations_and_weights(
    precision: str, ranges: dict[str, float], inputs: tuple[int, ...]
) -> None:
    node = node_of("(float[2,64] x) => (float[n,m] y) { y = MatMul(x, w) }", w=ones(64, 32))
    assert places(node, PRECISIONS[precision], ranges) == inputs
    relu = node_of("(float[2,64] x) => (float[n,m] y) { y = Relu(x) }")
    assert places(relu, PRECISIONS[precision], ranges) == ()


DENSE = "Conv(x, w)"


@pytest.mark.parametrize(
    ("body", "weights", "counts"),
    [
        (DENSE, ones(8, 64, 1, 1), True),
        ("Conv(x, w, b)", ones(8, 64, 1, 1), True),
        ("Conv(x, w, z)", ones(8, 64, 1, 1), False),  # a bias that is computed
        ("Conv<strides = [2, 2]>(x, w)", ones(8, 64, 1, 1), False),
        ("Conv<dilations = [2, 2]>(x, w)", ones(8, 64, 1, 1), False),
        ("Conv<pads = [1, 1, 1, 1]>(x, w)", ones(8, 64, 1, 1), False),
        ("Conv<group = 2>(x, w)", ones(8, 32, 1, 1), False),
        (DENSE, ones(8, 64, 3, 1), False),
        ("ConvTranspose(x, w)", ones(64, 8, 1, 1), False),
    ],
)
def test_a_dense_1x1_convolution_is_a_product(body: str, weights: Any, counts: bool) -> None:
    text = f"(float[1,64,4,4] x, float[8] z) => (float[1,8,n,m] y) {{ y = {body} }}"
    node = node_of(text, w=weights, b=ones(8))
    assert is_pointwise(node) is counts
    assert becomes_product(node, PRECISIONS["nvfp4"]) is counts
    assert not becomes_product(node, PRECISIONS["int8"])


@pytest.mark.parametrize(
    ("inner", "shape", "counts"), [(64, "1,64,4,4", True), (24, "1,24,4,4", False), (64, "a,64,b,4", False)]
)
def test_a_product_of_blocks_needs_channels_that_divide_and_lengths_that_are_known(
    inner: int, shape: str, counts: bool
) -> None:
    node = node_of(f"(float[{shape}] x) => (float[n,8,h,v] y) {{ y = {DENSE} }}", w=ones(8, inner, 1, 1))
    assert is_pointwise(node)
    assert becomes_product(node, PRECISIONS["nvfp4"]) is counts
