"""Weights in one form: what is scaled there scales the operator's inputs and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from parsed_nodes import node_of

from autoprec.graph.ops.matrices import (
    activation_axis,
    by_input,
    by_output,
    is_weighted,
    matrices,
    restored,
)

IMAGE, ROWS = "(float[1,4,5,5] x) => (float[?,?,?,?] y)", "(float[3,4] x) => (float[?,?] y)"
FORMS: dict[str, tuple[str, tuple[int, ...]]] = {
    "conv": (f"{IMAGE} {{ y = Conv(x, w) }}", (6, 4, 3, 3)),
    "grouped": (f"{IMAGE} {{ y = Conv<group = 2>(x, w) }}", (6, 2, 3, 3)),
    "transposed": (f"{IMAGE} {{ y = ConvTranspose(x, w) }}", (4, 6, 2, 2)),
    "transposed in groups": (f"{IMAGE} {{ y = ConvTranspose<group = 2>(x, w) }}", (4, 3, 2, 2)),
    "gemm": (f"{ROWS} {{ y = Gemm(x, w) }}", (4, 6)),
    "gemm of rows": (f"{ROWS} {{ y = Gemm<transB = 1>(x, w) }}", (6, 4)),
    "matmul": (f"{ROWS} {{ y = MatMul(x, w) }}", (4, 6)),
}


def computed(text: str, x: Any, w: Any) -> Any:
    head = '<ir_version: 10, opset_import: ["": 22]> net '
    proto = onnx.parser.parse_model(head + text.replace("?", "1"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    proto.graph.output[0].CopyFrom(helper.make_empty_tensor_value_info("y"))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("form", FORMS)
def test_scales_of_channels_go_through_the_one_form(form: str) -> None:
    text, shape = FORMS[form]
    random = np.random.default_rng(0)
    w = random.standard_normal(shape).astype(np.float32)
    node = node_of(text.replace("?", "n"), w=w)
    x = random.standard_normal((1, 4, 5, 5) if "Conv" in text else (3, 4)).astype(np.float32)
    inputs, outputs = (np.arange(1, n + 1, dtype=np.float32) for n in (4, 6))
    axis, stack = activation_axis(node), matrices(node, w)
    assert stack.shape[:3] in ((1, 6, 4), (2, 3, 2))
    np.testing.assert_array_equal(restored(node, stack, shape), w)

    def along(array: Any, vector: Any) -> Any:
        sizes = [1] * array.ndim
        sizes[axis] = len(vector)
        return array * vector.reshape(sizes)

    by_inputs = restored(node, stack * by_input(stack, inputs), shape)
    np.testing.assert_allclose(computed(text, x, by_inputs), computed(text, along(x, inputs), w), rtol=1e-4)
    by_outputs = restored(node, stack * by_output(stack, outputs), shape)
    np.testing.assert_allclose(
        computed(text, x, by_outputs), along(computed(text, x, w), outputs), rtol=1e-4, atol=1e-5
    )


FLOATS = np.ones((4, 4), np.float32)


@pytest.mark.parametrize(
    ("text", "weights", "counts"),
    [
        ("(float[3,4] x) => (float[n,m] y) { y = MatMul(x, w) }", FLOATS, True),
        ("(float[3,4] x) => (float[n,m] y) { y = Gemm<transB = 1>(x, w) }", FLOATS, True),
        ("(float[4,3] x) => (float[n,m] y) { y = Gemm<transA = 1>(x, w) }", FLOATS, False),
        ("(float[3,4] x) => (float[n,m] y) { y = MatMul(w, w) }", FLOATS, False),
        ("(float[4,4] x) => (float[n,m] y) { y = MatMul(w, x) }", FLOATS, False),
        ("(float[4,4] x) => (float[n,m] y) { y = MatMul(x, x) }", FLOATS, False),
        ("(float[3,4] x) => (float[n,m] y) { y = Mul(x, w) }", FLOATS, False),
        ("(float[3,4] x) => (float[n,m] y) { y = Relu(x) }", FLOATS, False),
        ("(float16[3,4] x) => (float16[n,m] y) { y = MatMul(x, w) }", FLOATS.astype(np.float16), False),
        ("(float[2,3,4] x) => (float[a,n,m] y) { y = MatMul(x, w) }", np.ones((2, 4, 4), np.float32), False),
    ],
)
def test_weighted_is_one_activation_by_a_constant_matrix(text: str, weights: Any, counts: bool) -> None:
    assert is_weighted(node_of(text, w=weights)) is counts
