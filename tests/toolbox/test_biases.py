"""Corrected biases go where an op has one for each output, and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from autoprec.graph.grids.weights import on_grid, weight_scales
from autoprec.graph.statistics.moments import MomentSums
from autoprec.graph.variants.edits import Edits, edited
from autoprec.graph.variants.rounding import refine
from autoprec.precisions import PRECISIONS
from mbconv import outputs

HEAD = '<ir_version: 10, opset_import: ["" : 22]> g (float[64,6] x, float[6] c) => (float[64,6] y)'
BIASES = {
    "a Gemm's own": ("y = Gemm (x, m, b)", 1),
    "none of a Gemm": ("y = Gemm (x, m)", 1),
    "scaled by a Gemm": ("y = Gemm <beta = 0.5> (x, m, b)", 0),
    "one number for all": ("y = Gemm (x, m, one)", 0),
    "computed": ("r = Relu (c) y = Gemm (x, m, r)", 0),
    "behind a product": ("h = MatMul (x, m) y = Add (h, b)", 1),
    "before a product": ("h = MatMul (x, m) y = Add (b, h)", 1),
    "a residual": ("h = MatMul (x, m) r = Relu (x) y = Add (h, r)", 0),
    "behind one of two readers": ("h = MatMul (x, m) z = Add (h, b) y = Mul (h, z)", 0),
    "no sum": ("h = MatMul (x, m) y = Mul (h, b)", 0),
}


def model_of(body: str, random: np.random.Generator) -> ir.Model:
    proto = onnx.parser.parse_model(f"{HEAD} {{ {body} }}")
    arrays = {"m": random.standard_normal((6, 6)), "b": random.standard_normal(6), "one": np.ones(1)}
    proto.graph.initializer.extend(
        numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()
    )
    for number, node in enumerate(proto.graph.node):
        node.name = f"node{number}"
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


def rounded(node: ir.Node) -> ir.TensorProtocol:
    """A matrix on the grid of INT8, column by column."""
    matrix = node.inputs[1].const_value.numpy()  # type: ignore[union-attr]
    scales = weight_scales(matrix, 1, 127.0, ir.DataType.FLOAT)
    return ir.tensor(
        on_grid(matrix, scales, 1, 127.0, ir.DataType.INT8).astype(np.float32) * scales, name="r"
    )


@pytest.mark.parametrize("where", BIASES)
def test_a_bias_takes_the_mean_error_where_it_is_one_number_for_each_output(where: str) -> None:
    body, corrected = BIASES[where]
    random = np.random.default_rng(6)
    model, rows = model_of(body, random), (random.standard_normal((64, 6)) + 3).astype(np.float32)
    node = next(node for node in model.graph if node.op_type in ("Gemm", "MatMul"))
    name, sums = str(node.name), MomentSums(model.graph)
    sums.observe({"x": rows})
    edits = refine(Edits({}), [node], sums.result(), {name: 1e-4}, PRECISIONS["int8+bias"])
    assert refine(Edits({}), [node], sums.result(), {}, PRECISIONS["int8+bias"]) == Edits({}), "no range"
    assert len(edits.constants) == corrected
    if corrected:
        feeds, weights = [{"x": rows, "c": np.zeros(6, np.float32)}], {(name, 1): rounded(node)}
        wanted, off, mended = (
            outputs(edited(model, {"all": Edits(changed)}).model, feeds).mean(axis=(0, 1))
            for changed in ({}, weights, {**edits.constants, **weights})
        )
        assert np.abs(mended - wanted).max() < 0.01 * np.abs(off - wanted).max()
