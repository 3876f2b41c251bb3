"""Nodes that lack what their operators require, and models that end the process that reads them."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from autoprec.errors import ModelError
from autoprec.graph.model.load import load_model

pytestmark = pytest.mark.usefixtures("rehearsed")
HEAD = '<ir_version: 9, opset_import: ["": {}]> g (float[1,4,8,8] x) => (float[1,4,8,8] z) {{ {} }}'


def saved(folder: Path, body: str, opset: int = 20) -> Path:
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(HEAD.format(opset, body)), path)
    return path


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("z = Identity()", r"node 'z' \(Identity\) has no input 'input', which it requires"),
        ('y = Identity("") z = Relu(x)', "'y' .Identity. has no input 'input'"),
        ("y = RegexFullMatch() z = Relu(x)", "RegexFullMatch. has no input 'X'"),
        ("y = MatMulInteger(x) z = Cast<to = 1>(y)", "has no input 'B'"),
        ("y = Sub(, x) z = Relu(x)", "'y' .Sub. has no input 'A'"),
        ("y = Concat<axis = 0>() z = Relu(x)", "'y' .Concat. has no input 'inputs'"),
        ("z = Cast(x)", "has no attribute 'to', which it requires"),
        ("z = Cast<to = 1.5>(x)", "has an attribute 'to' that is not of type INT"),
    ],
)
def test_a_node_without_what_its_operator_requires_is_named(body: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        load_model(saved(tmp_path, body.replace('""', "")))


def test_a_node_of_a_branch_or_a_function_is_looked_at_too(tmp_path: Path) -> None:
    path = saved(tmp_path, "z = mine.F(x)")
    model = onnx.load(path)
    body = [helper.make_node("Cast", ["a"], ["b"])]
    model.functions.append(
        helper.make_function("mine", "F", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    )
    onnx.save(model, path)
    with pytest.raises(ModelError, match="has no attribute 'to'"):
        load_model(path)


def test_a_model_that_crashes_onnxs_inference_is_refused(tmp_path: Path) -> None:
    body = "i = Constant<value = int64[1] {0}>() y = GatherND<batch_dims = -2>(x, i) z = Relu(x)"
    with pytest.raises(ModelError, match="ONNX's own tools crash on it"):
        load_model(saved(tmp_path, body))


@pytest.mark.parametrize(
    "body",
    [
        "i = Constant<value = int64 {7}>() n = Constant<value = int64 {8}>() y = DFT(x, n, i) z = Relu(y)",
        "s = Constant<value = float[2] {1, 2}>() r = ReduceSum<keepdims = 0>(x) z = QuantizeLinear(r, s)",
    ],
)
def test_an_axis_that_a_value_does_not_have_is_refused(body: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="axis"):
        load_model(saved(tmp_path, body))


def loop(depth: int, rounds: int) -> onnx.NodeProto:
    """Loops within one another, each of so many rounds."""
    scalar, tensor = helper.make_tensor_value_info, [1, 4, 8, 8]
    node = helper.make_node("Relu", ["v0"], ["o0"])
    for level in range(depth):
        given = [scalar(f"i{level}", TensorProto.INT64, []), scalar(f"c{level}", TensorProto.BOOL, [])]
        values = [scalar(f"{name}{level}", TensorProto.FLOAT, tensor) for name in "vo"]
        passed = helper.make_node("Identity", [f"c{level}"], [f"d{level}"])
        outputs = [scalar(f"d{level}", TensorProto.BOOL, []), values[1]]
        body = helper.make_graph([node, passed], f"b{level}", [*given, values[0]], outputs)
        node = helper.make_node("Loop", ["n", "t", f"v{level + 1}"], [f"o{level + 1}"], body=body)
    node.input[2], node.output[0] = "x", "z"
    return node


def nested(folder: Path, depth: int, rounds: int) -> Path:
    path = saved(folder, "z = Relu(x)")
    model = onnx.load(path)
    model.graph.node[0].CopyFrom(loop(depth, rounds))
    model.graph.initializer.append(helper.make_tensor("n", TensorProto.INT64, [], [rounds]))
    model.graph.initializer.append(helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    onnx.save(model, path)
    return path


def test_loops_in_loops_are_written_out_unless_they_make_thousands_of_nodes(tmp_path: Path) -> None:
    assert len(load_model(nested(tmp_path, 2, 3)).graph) == 9
    with pytest.raises(ModelError, match="of thousands of nodes"):
        load_model(nested(tmp_path, 6, 1000))
