"""1x1 convolutions as products of matrices, in variants that quantise products alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from autoprec.graph.model.load import load_model
from autoprec.graph.ops.pointwise import is_pointwise
from autoprec.graph.rewrite.products import write_products
from autoprec.graph.rewrite.rewrite import Rewriter
from mbconv import error, images, outputs, toolbox, uniform, write_mbconv


def test_a_product_computes_what_the_convolution_did(tmp_path: Path) -> None:
    model = load_model(write_mbconv(tmp_path / "model.onnx"))
    changed = model.clone()
    names = {str(node.name) for node in model.graph if is_pointwise(node)}
    products = write_products(changed, names)
    assert names == set(products.nodes.values())
    assert not any(map(is_pointwise, changed.graph))
    feeds = images(1)
    for before, after in zip(outputs(model, feeds), outputs(changed, feeds), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_only_the_products_of_a_block_are_quantised(tmp_path: Path) -> None:
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    written = Rewriter(model, blocks, box, base="fp32").rewrite(uniform(blocks, "int8+gemm"))
    behind = {node.op_type for node in written.graph if _reads_pair(node)}
    assert behind == {"MatMul"}
    kept = [str(node.name) for node in written.graph if node.op_type == "Conv"]
    assert kept == [str(n.name) for n in model.graph if n.op_type == "Conv" and not is_pointwise(n)]


@pytest.mark.parametrize("cures", ["", "+smooth"])
def test_a_product_loses_about_what_its_convolution_does(cures: str, tmp_path: Path) -> None:
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    rewriter, feeds = Rewriter(model, blocks, box, base="fp32"), images(1)
    wanted = outputs(model, feeds)
    product, plain = (
        error(outputs(rewriter.rewrite(uniform(blocks, name)), feeds), wanted)
        for name in (f"int8+gemm{cures}", f"int8{cures}")
    )
    assert 0 < product <= 1.1 * plain


def test_weights_are_stored_once_and_on_the_grid(tmp_path: Path) -> None:
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    written = Rewriter(model, blocks, box, base="fp32").rewrite(uniform(blocks, "int8+gemm"))
    products = [node for node in written.graph if node.op_type == "MatMul"]
    weights = [_producer(node, 1) for node in products]
    assert {weight.attributes.get_int("axis") for weight in weights} == {1}
    assert {weight.inputs[0].dtype for weight in weights if weight.inputs[0]} == {ir.DataType.INT8}
    constants = [value.const_value for value in written.graph.initializers.values()]
    assert not {str(tensor.name) for tensor in constants if tensor is not None} & {"expand", "project"}


def _producer(node: ir.Node, place: int) -> ir.Node:
    value = node.inputs[place]
    producer = value.producer() if value is not None else None
    assert producer is not None
    return producer


def _reads_pair(node: ir.Node) -> bool:
    producers = [value.producer() for value in node.inputs if value is not None]
    return any(maker is not None and maker.op_type == "DequantizeLinear" for maker in producers)
