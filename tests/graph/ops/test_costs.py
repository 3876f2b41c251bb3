"""Multiply-accumulates and parameters are those that one counts by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from parsed_nodes import node_of

from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.ops.costs import is_depthwise, macs

DEMO = Path(__file__).parents[3] / "studies/models/demo_encoder.onnx"


def cost(folder: Path, op: str, inputs: dict[str, tuple[int, ...]], **attributes: object) -> tuple[int, int]:
    """(MACs, parameters) of one op; inputs named w... are weights."""
    weights = [numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in inputs.items() if n[0] == "w"]
    values = [helper.make_tensor_value_info(n, 1, s) for n, s in inputs.items() if n[0] != "w"]
    nodes = [helper.make_node(op, list(inputs), ["y"], **attributes)]
    output = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(nodes, "g", values, output, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "model.onnx")
    [block] = partition(load_model(folder / "model.onnx"))
    return block.macs, block.parameters


IMAGE = (1, 8, 10, 10)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "macs", "parameters"),
    [
        ("Conv", {"x": IMAGE, "w": (16, 8, 3, 3), "wb": (16,)}, {}, 8 * 8 * 16 * 8 * 9, 16 * 8 * 9 + 16),
        ("Conv", {"x": IMAGE, "w": (8, 1, 3, 3)}, {"group": 8}, 8 * 8 * 8 * 9, 72),
        ("Conv", {"x": IMAGE, "w": (4, 8, 1, 1)}, {"strides": [2, 2]}, 25 * 4 * 8, 32),
        ("ConvTranspose", {"x": IMAGE, "w": (8, 4, 2, 2)}, {"strides": [2, 2]}, 100 * 8 * 4 * 4, 128),
        ("MatMul", {"x": (2, 5, 6), "w": (6, 7)}, {}, 2 * 5 * 6 * 7, 42),
        ("MatMul", {"x": (2, 3, 5, 6), "y1": (2, 3, 6, 4)}, {}, 2 * 3 * 5 * 6 * 4, 0),
        ("Gemm", {"x": (5, 6), "w": (7, 6), "wb": (7,)}, {"transB": 1}, 5 * 6 * 7, 49),
        ("Gemm", {"x": (6, 5), "w": (6, 7)}, {"transA": 1}, 5 * 6 * 7, 42),
        ("Einsum", {"x": (2, 5, 6), "w": (6, 7)}, {"equation": "bij,jk->bik"}, 2 * 5 * 6 * 7, 42),
        ("Einsum", {"x": (2, 3, 5, 6), "y1": (2, 3, 4, 6)}, {"equation": "...id,...jd->...ij"}, 720, 0),
        ("Relu", {"x": IMAGE}, {}, 0, 0),
        ("Attention", {"x": (2, 4, 5, 6), "y1": (2, 2, 7, 6), "y2": (2, 2, 7, 3)}, {}, 40 * 7 * (6 + 3), 0),
        (
            "Attention",
            {"x": (2, 5, 24), "y1": (2, 7, 12), "y2": (2, 7, 6)},
            {"q_num_heads": 4, "kv_num_heads": 2},
            40 * 7 * (6 + 3),
            0,
        ),
        ("RMSNormalization", {"x": (2, 5, 6), "w": (6,)}, {}, 2 * 60, 6),
    ],
)
def test_an_op_costs_what_its_sum_says(
    op: str,
    inputs: dict[str, tuple[int, ...]],
    attributes: dict[str, object],
    macs: int,
    parameters: int,
    tmp_path: Path,
) -> None:
    assert cost(tmp_path, op, inputs, **attributes) == (macs, parameters)


def test_the_stem_of_the_demo_costs_what_its_layer_does() -> None:
    blocks = {block.name: block for block in partition(load_model(DEMO))}
    stem = blocks["stem.blocks.0"]  # 3x3 convolution, 3 to 32 channels, stride 2, with a bias
    assert stem.parameters == 32 * 3 * 9 + 32
    assert stem.macs == 32 * 3 * 9 * 128 * 128


def test_blocks_of_the_demo_hold_all_its_weights_once() -> None:
    held = [t for t in onnx.load(DEMO).graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    blocks = partition(load_model(DEMO))
    floats = sum(math.prod(tensor.dims) for tensor in held)
    assert floats <= sum(block.parameters for block in blocks) < floats * 1.001


def test_a_product_without_inputs_costs_nothing() -> None:
    assert macs(ir.Node("", "MatMul", [], num_outputs=1)) == 0
    value = ir.Value(name="x", shape=ir.Shape([2, 2]), type=ir.TensorType(ir.DataType.FLOAT))
    assert macs(ir.Node("", "MatMul", [value], num_outputs=1)) == 0
    assert macs(ir.Node("", "MatMul", [value, value], num_outputs=1)) == 0, "its result has no shape"
    assert macs(ir.Node("", "RMSNormalization", [ir.Value(name="y")], num_outputs=1)) == 0


def test_attention_counts_the_keys_of_before() -> None:
    values = "float[2,4,5,6] q, float[2,2,7,6] k, float[2,2,7,3] v, float[2,2,9,6] pk, float[2,2,9,3] pv"
    text = f"({values}) => (float[2,4,5,3] y, float[2,2,16,6] a, float[2,2,16,3] b)"
    attention = node_of(f"{text} {{ y, a, b = Attention(q, k, v, , pk, pv) }}", opset=23)
    assert macs(attention) == (2 * 4 * 5 * 6 + 2 * 4 * 5 * 3) * (7 + 9)


@pytest.mark.parametrize(
    ("groups", "shape", "is_so"),
    [(4, (4, 1, 3, 3), True), (2, (4, 2, 3, 3), False), (1, (4, 1, 3, 3), False)],
)
def test_depthwise_is_a_group_for_each_channel(groups: int, shape: tuple[int, ...], is_so: bool) -> None:
    channels = groups * shape[1]
    text = f"(float[1,{channels},8,8] x) => (float y) {{ y = Conv<group = {groups}>(x, w) }}"
    assert is_depthwise(node_of(text, w=np.ones(shape, np.float32))) is is_so
    assert not is_depthwise(node_of("(float[2,2] x) => (float y) { y = Relu(x) }"))
