"""Weights that came in blocks whose last one is cut, as ModelOpt's INT4 has them, stay what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends import run
from autoprec.backends.exact import Exact
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment

X = np.random.default_rng(1).standard_normal((4, 24)).astype(np.float32)


def saved(folder: Path, columns: int, block: int) -> Path:
    random = np.random.default_rng(0)
    levels = random.integers(-8, 8, 24 * columns).tolist()
    scales = random.uniform(0.05, 0.2, (-(-24 // block), columns)).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=block),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, size])]
        for name, size in (("x", 24), ("y", columns))
    )
    weights = [
        helper.make_tensor("q", TensorProto.INT4, [24, columns], levels),
        numpy_helper.from_array(scales, "s"),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10),
        folder / "given.onnx",
    )
    return folder / "given.onnx"


@pytest.mark.parametrize("precision", ["fp32", "int4"])
@pytest.mark.parametrize(("columns", "block"), [(6, 128), (1, 128), (6, 16)])
def test_blocks_that_are_cut_compute_what_the_file_does(
    columns: int, block: int, precision: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, columns, block)
    model = load_model(path)
    blocks = partition(model, minimum=1, maximum=1)
    chosen = Assignment(choices=((blocks[0].name, precision),))
    Rewriter(model, blocks, {}, base="fp32").write(chosen, tmp_path / "out.onnx")
    scales, levels = (numpy_helper.to_array(onnx.load(path).graph.initializer[place]) for place in (1, 0))
    wide = np.repeat(scales, block, axis=0)[:24]
    with Exact().build(tmp_path / "out.onnx") as exact:
        output = run(exact, {"x": X})["y"]
    np.testing.assert_allclose(output, X @ (levels.astype(np.float32) * wide), rtol=1e-4, atol=1e-5)
