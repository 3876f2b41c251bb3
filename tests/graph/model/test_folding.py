"""Weights that a model computes from constants are weights to all that comes after loading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from autoprec.graph.blocks.partition import partition
from autoprec.graph.grids.given import given
from autoprec.graph.model.forms.folding import fold
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment

Array = NDArray[Any]
Build = Callable[[Array], tuple[list[onnx.NodeProto], dict[str, Array]]]
NODE = helper.make_node
CHANNELS = 24
"""So that weights are too large to be computed at loading."""


def behind_cast(w: Array) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    return [NODE("Cast", ["h"], ["w"], to=TensorProto.FLOAT)], {"h": w.astype(np.float16)}


def behind_transpose(w: Array) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    return [NODE("Transpose", ["t"], ["w"], perm=[1, 0, 2, 3])], {"t": np.ascontiguousarray(w.swapaxes(0, 1))}


def behind_a_norm(w: Array) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    length = np.sqrt((w.reshape(len(w), -1) ** 2).sum(1)).reshape(-1, 1, 1, 1)
    nodes = [
        NODE("ReduceL2", ["v", "axes"], ["n"], keepdims=1),
        NODE("Div", ["v", "n"], ["u"]),
        NODE("Mul", ["u", "g"], ["w"]),
    ]
    return nodes, {"v": w, "axes": np.array([1, 2, 3]), "g": length}


def behind_copies(w: Array) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    nodes = [
        NODE("Identity", ["a"], ["b"]),
        NODE("Reshape", ["b", "shape"], ["c"]),
        NODE("Identity", ["c"], ["w"]),
    ]
    return nodes, {"a": w.reshape(len(w), -1), "shape": np.array(w.shape)}


def saved(folder: Path, build: Build) -> Path:
    weights = np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS, 7, 7)).astype(np.float32)
    nodes, arrays = build(weights)
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, CHANNELS, 8, 8]) for n in "xy"]
    nodes = [NODE("Conv", ["x", "first"], ["z"]), *nodes, NODE("Conv", ["z", "w"], ["y"], pads=[3] * 4)]
    first = np.random.default_rng(1).standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
    tensors = [numpy_helper.from_array(array, name) for name, array in {**arrays, "first": first}.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize("build", [behind_cast, behind_transpose, behind_a_norm, behind_copies])
def test_computed_weights_have_a_scale_for_each_channel(build: Build, tmp_path: Path) -> None:
    path = saved(tmp_path, build)
    model = load_model(path)
    assert [node.op_type for node in model.graph] == ["Conv", "Conv"]
    blocks = partition(model, minimum=1, maximum=1)
    rewriter = Rewriter(model, blocks, {"x": 4.0, "z": 40.0}, base="fp32")
    files = {}
    for precision in ("fp32", "int8"):
        files[precision] = tmp_path / f"{precision}.onnx"
        rewriter.write(Assignment(choices=((blocks[0].name, precision),)), files[precision])
    stored = onnx.load(files["int8"]).graph.initializer
    scales = [list(tensor.dims) for tensor in stored if tensor.name.endswith("axis0/scale")]
    assert scales == [[CHANNELS], [CHANNELS]]
    feed = {"x": np.random.default_rng(2).standard_normal((1, CHANNELS, 8, 8)).astype(np.float32)}
    wanted, output = (
        InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for file in (path, files["fp32"])
    )
    np.testing.assert_allclose(output, wanted, rtol=1e-3, atol=1e-3)


def test_scales_of_quantised_weights_turn_with_them(tmp_path: Path) -> None:
    def build(w: Array) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
        nodes = [
            NODE("DequantizeLinear", ["q", "s"], ["d"], axis=1),
            NODE("Transpose", ["d"], ["w"], perm=[1, 0, 2, 3]),
        ]
        scales = np.linspace(0.01, 0.02, CHANNELS).astype(np.float32)
        return nodes, {"q": np.clip(w.swapaxes(0, 1) * 40, -127, 127).astype(np.int8), "s": scales}

    model = load_model(saved(tmp_path, build))
    pair = given(list(model.graph)[-1])[1]
    assert pair.axis == 0
    stored = numpy_helper.to_array(onnx.load(tmp_path / "model.onnx").graph.initializer[0])
    assert pair.stored is not None
    np.testing.assert_array_equal(pair.stored.numpy(), stored.swapaxes(0, 1))


def test_a_constant_that_would_grow_stays_computed(tmp_path: Path) -> None:
    def build(w: Array) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
        return [NODE("Expand", ["e", "shape"], ["w"])], {"e": w[:1, :1], "shape": np.array(w.shape)}

    assert [node.op_type for node in load_model(saved(tmp_path, build)).graph] == ["Conv", "Expand", "Conv"]


def test_what_makes_weights_is_in_the_block_of_what_reads_them(tmp_path: Path) -> None:
    def build(w: Array) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
        return [NODE("Expand", ["e", "shape"], ["w"])], {"e": w[:1, :1], "shape": np.array(w.shape)}

    model = load_model(saved(tmp_path, build))
    blocks = partition(model, minimum=2)
    names = {str(node.op_type + node.outputs[0].name): node.name for node in model.graph}  # type: ignore[operator]
    [home] = [block for block in blocks if names["Convy"] in block.nodes]
    assert names["Expandw"] in home.nodes
    assert names["Convz"] not in home.nodes


SIDES = np.array([1 << 14, 1 << 13])


@pytest.mark.parametrize(
    ("op", "arrays"),
    [
        ("ConstantOfShape", [SIDES]),
        ("Expand", [np.ones(1, np.float32), SIDES]),
        ("Tile", [np.ones((1, 1), np.float32), SIDES]),
        ("Range", [np.array(0), np.array(1 << 27), np.array(1)]),
        ("Pad", [np.ones((1, 1), np.float32), np.concatenate([SIDES, SIDES])]),
    ],
)
def test_what_a_few_bytes_ask_for_is_not_computed_at_loading(op: str, arrays: list[Array]) -> None:
    names = list("abc")[: len(arrays)]
    nodes = [NODE(op, names, ["large"]), NODE("ReduceMax", ["large"], ["y"], keepdims=0)]
    weights = [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    proto = helper.make_model(helper.make_graph(nodes, "g", [], [output], weights))
    graph = ir.from_proto(proto).graph
    fold(graph)
    assert [node.op_type for node in graph] == [op, "ReduceMax"]
