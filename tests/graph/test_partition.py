"""Blocks cover each node once, follow scopes where there are any, and keep together what is fused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from onnx import TensorProto, helper, numpy_helper

from autoprec.graph.blocks.partition import partition
from autoprec.graph.blocks.scopes import scope_of
from autoprec.graph.model.load import load_model
from autoprec.graph.ops.costs import is_depthwise, macs
from autoprec.records import Block
from random_ops import models

DEMO = Path(__file__).parents[2] / "studies/models/demo_encoder.onnx"


def loaded(proto: onnx.ModelProto, folder: Path) -> tuple[Block, ...]:
    onnx.save(proto, folder / "model.onnx")
    return partition(load_model(folder / "model.onnx"))


def renamed(names: bool, metadata: bool) -> onnx.ModelProto:
    """The demo with scopes in metadata, as the dynamo exporter leaves them, or without any."""
    model = onnx.load(DEMO)
    for number, node in enumerate(model.graph.node):
        parts = node.name.strip("/").split("/")
        if metadata:
            scopes = ["", *(".".join(parts[: end + 1]) for end in range(len(parts) - 1)), f"node_{number}"]
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(scopes))
        if not names:
            node.name = f"node_{number}"
    return model


def residuals(count: int) -> onnx.ModelProto:
    """A chain of residual convolutions without any name."""
    nodes, weights, value = [], [], "x"
    for number in range(count):
        array = np.zeros((4, 4, 3, 3), np.float32)
        weights.append(numpy_helper.from_array(array, f"w{number}"))
        nodes.append(helper.make_node("Conv", [value, f"w{number}"], [f"c{number}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        nodes.append(helper.make_node("Add", [f"r{number}", value], [f"a{number}"]))
        value = f"a{number}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("x", value)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def home(blocks: tuple[Block, ...]) -> dict[str, str]:
    return {node: block.name for block in blocks for node in block.nodes}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(models(most=30))
def test_every_node_is_in_exactly_one_block(proto: onnx.ModelProto) -> None:
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(proto, Path(folder) / "model.onnx")
        model = load_model(Path(folder) / "model.onnx")
    listed = [node for block in partition(model) for node in block.nodes]
    assert sorted(listed) == sorted(str(node.name) for node in model.graph)


@pytest.mark.parametrize(
    "proto", [renamed(True, False), renamed(False, True), renamed(False, False), residuals(60)],
    ids=["scopes in names", "scopes in metadata", "no scopes", "a long chain"],
)  # fmt: skip
def test_a_model_lands_between_8_and_40_blocks(proto: onnx.ModelProto, tmp_path: Path) -> None:
    assert 8 <= len(loaded(proto, tmp_path)) <= 40


def test_a_stack_of_more_layers_than_blocks_is_cut_into_runs_of_them(tmp_path: Path) -> None:
    proto = residuals(100)
    for number, node in enumerate(proto.graph.node):
        node.name = f"/layers.{number // 3}/{node.op_type}"
    blocks = loaded(proto, tmp_path)
    assert 20 <= len(blocks) <= 40
    assert max(len(block.nodes) for block in blocks) <= 12


def test_scopes_give_the_same_blocks_from_names_and_from_metadata(tmp_path: Path) -> None:
    named, scoped = (loaded(renamed(names, True), tmp_path) for names in (True, False))
    assert [block.name for block in named] == [block.name for block in scoped]


def test_attention_with_its_division_is_one_block() -> None:
    model = load_model(DEMO)
    owner = home(partition(model))
    pairs = [
        (maker, node)
        for node in model.graph
        if node.op_type == "Div"
        for value in node.inputs
        if value and (maker := value.producer()) and maker.op_type == "MatMul"
    ]
    assert len(pairs) == 3
    assert all(owner[str(maker.name)] == owner[str(node.name)] for maker, node in pairs)


@pytest.mark.parametrize("scopes", [True, False])
def test_a_residual_branch_keeps_its_add(scopes: bool, tmp_path: Path) -> None:
    onnx.save(renamed(scopes, False), tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    owner = home(partition(model))
    ends = [(node, node.inputs[1]) for node in model.graph if node.op_type == "Add"]
    branches = [
        (add, maker) for add, end in ends if end and "main" in str(end.name) and (maker := end.producer())
    ]
    assert len(branches) >= 5
    assert all(owner[str(add.name)] == owner[str(branch.name)] for add, branch in branches)


def layers_of(convolutions: Callable[[str, str], Sequence[tuple[str, str]]], *added: str) -> onnx.ModelProto:
    """Ten modules of (name, what it reads) convolutions, which each end in a sum of two values."""
    nodes, value = [], "x"
    for layer in (f"/layers.{number}" for number in range(10)):
        for name, source in convolutions(layer, value):
            nodes.append(helper.make_node("Conv", [source, "w"], [f"{layer}/{name}"], f"{layer}/{name}/Conv"))
        operands = [f"{layer}/{name}" if name else value for name in added]
        value = f"{layer}/sum"
        nodes.append(helper.make_node("Add", operands, [value], f"{layer}/Add"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("x", value)]
    weights = [numpy_helper.from_array(np.zeros((4, 4, 1, 1), np.float32), "w")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_residual_block_with_a_projection_is_one_block(tmp_path: Path) -> None:
    proto = layers_of(
        lambda layer, value: [("conv1", value), ("conv2", f"{layer}/conv1"), ("down", value)], "conv2", "down"
    )
    assert [block.name for block in loaded(proto, tmp_path)] == [f"layers.{number}" for number in range(10)]


def test_a_residual_branch_of_many_convolutions_is_one_block(tmp_path: Path) -> None:
    proto = layers_of(
        lambda layer, value: [
            ("conv0", value), *((f"conv{n}", f"{layer}/conv{n - 1}") for n in range(1, 8))
        ], "conv7", ""
    )  # fmt: skip
    assert [block.name for block in loaded(proto, tmp_path)] == [f"layers.{number}" for number in range(10)]


def transformer(layers: int) -> onnx.ModelProto:
    """Layers that add attention's branch, then the perceptron's, named as the legacy exporter does."""
    nodes, value = [], "x"
    for layer in (f"/layers.{number}" for number in range(layers)):
        q, k, v = (f"{layer}/attn/{name}" for name in "qkv")
        nodes += [helper.make_node("MatMul", [value, "w"], [name], f"{name}/MatMul") for name in (q, k, v)]
        s, p, o, h, m = (f"{layer}/{name}" for name in ("attn/s", "attn/p", "attn/o", "mlp/h", "mlp/m"))
        nodes.append(helper.make_node("MatMul", [q, k], [s], f"{layer}/attn/MatMul"))
        nodes.append(helper.make_node("Softmax", [s], [p], f"{layer}/attn/Softmax"))
        nodes.append(helper.make_node("MatMul", [p, v], [o], f"{layer}/attn/MatMul_1"))
        nodes.append(helper.make_node("Add", [value, o], [f"{layer}/1"], f"{layer}/Add"))
        nodes.append(helper.make_node("MatMul", [f"{layer}/1", "w"], [h], f"{layer}/mlp/lin1/MatMul"))
        nodes.append(helper.make_node("MatMul", [h, "w"], [m], f"{layer}/mlp/lin2/MatMul"))
        nodes.append(helper.make_node("Add", [f"{layer}/1", m], [f"{layer}/2"], f"{layer}/Add_1"))
        value = f"{layer}/2"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8, 8]) for name in ("x", value)]
    weights = [numpy_helper.from_array(np.zeros((8, 8), np.float32), "w")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_transformer_s_layer_is_attention_and_a_perceptron(tmp_path: Path) -> None:
    blocks = loaded(transformer(12), tmp_path)
    wanted = [f"layers.{number}.{part}" for number in range(12) for part in ("attn", "mlp")]
    assert [block.name for block in blocks] == wanted
    assert all(dict(block.op_counts)["Add"] == 1 for block in blocks)


def test_layers_that_would_be_too_many_in_halves_stay_whole(tmp_path: Path) -> None:
    blocks = loaded(transformer(20), tmp_path)
    assert [block.name for block in blocks] == [f"layers.{number}" for number in range(20)]


def shuffled(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same graph with its nodes in another sorted order."""
    random, nodes = np.random.default_rng(seed), list(proto.graph.node)
    values = {proto.graph.input[0].name, "", *(tensor.name for tensor in proto.graph.initializer)}
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    while nodes:
        ready = [place for place, node in enumerate(nodes) if values.issuperset(node.input)]
        node = nodes.pop(ready[random.integers(len(ready))])
        values |= set(node.output)
        result.graph.node.append(node)
    return result


@pytest.mark.parametrize("names", [True, False])
def test_blocks_are_the_same_on_every_run_and_in_any_sorted_order(names: bool, tmp_path: Path) -> None:
    proto = renamed(names, False)
    first = loaded(proto, tmp_path)
    assert loaded(proto, tmp_path) == first
    for seed in range(3):
        assert home(loaded(shuffled(proto, seed), tmp_path)) == home(first)


def nearest_costly(value: ir.Value) -> ir.Node:
    """The convolution or product behind a value."""
    maker = value.producer()
    while maker is not None and not macs(maker):
        assert maker.inputs[0] is not None
        maker = maker.inputs[0].producer()
    assert maker is not None
    return maker


@pytest.mark.parametrize("names", [True, False])
def test_depthwise_convolutions_stay_with_the_products_around_them(names: bool, tmp_path: Path) -> None:
    onnx.save(renamed(names, False), tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    owner = home(partition(model))
    costly = [node for node in model.graph if macs(node) and node.inputs[0] and node.inputs[0].producer()]
    pairs = [(nearest_costly(node.inputs[0]), node) for node in costly if node.inputs[0]]
    pairs = [pair for pair in pairs if any(map(is_depthwise, pair))]
    assert len(pairs) == 20
    assert all(owner[str(before.name)] == owner[str(after.name)] for before, after in pairs)


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("op", ["Resize", "LayerNormalization", "HardSwish", "Relu"])
def test_ops_without_cost_stay_beside_what_they_read_or_who_reads_them(
    op: str, names: bool, tmp_path: Path
) -> None:
    onnx.save(renamed(names, False), tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    owner = home(partition(model))
    for node in (node for node in model.graph if node.op_type == op):
        around = {owner[str(other.name)] for other in (*node.predecessors(), *node.successors())}
        assert owner[str(node.name)] in around


@pytest.mark.parametrize(("length", "count"), [(8, 1), (9, 8)])
def test_a_branch_of_up_to_eight_nodes_is_whole_in_a_small_model_too(length: int, count: int) -> None:
    body = "".join(f"v{place + 1} = MatMul (v{place}, v{place})  " for place in range(length))
    text = f"{{ v0 = Neg (x)  {body} y = Add (v{length}, v1) }}"
    head = '<ir_version: 10, opset_import: ["": 22]> g (float[4,4] x) => (float[4,4] y) '
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(head + text)))
    for place, node in enumerate(model.graph):
        node.name = f"n{place}"
    behind_the_first = partition(model, minimum=1)[1:]
    assert len(behind_the_first) == count


def test_depth_and_limits_are_the_users_to_choose() -> None:
    model = load_model(DEMO)
    assert len(partition(model, minimum=1, maximum=5)) <= 5
    assert len(partition(model, depth=1)) < len(partition(model))


@pytest.mark.parametrize(
    ("name", "scope"),
    [("/enc/enc.0/conv/Conv", "enc 0 conv"), ("/stages.3/stages.30/Conv", "stages 3 stages 30")],
)
def test_a_sequential_is_named_once_in_a_scope(name: str, scope: str) -> None:
    assert scope_of(ir.Node("", "Conv", [], name=name)) == tuple(scope.split())


@pytest.mark.parametrize(
    ("listed", "scope"),
    [("['enc', 'enc.0', 'enc.0.conv']", "enc 0"), ("['conv']", ""), ('["a.b", "a.b.c"]', "a b"), ("[]", "")],
)
def test_a_scope_in_metadata_is_the_module_that_called_the_node(listed: str, scope: str) -> None:
    node = ir.Node("", "Conv", [], name="/other/Conv")
    node.metadata_props["pkg.torch.onnx.name_scopes"] = listed
    assert scope_of(node) == tuple(scope.split())


def test_modules_without_cost_in_a_row_join_the_next_one_that_has_some() -> None:
    text = """<ir_version: 10, opset_import: ["": 22]> g (float[4,4] x) => (float[4,4] y) {
        ["/a/Neg"] a = Neg (x)  ["/b/Abs"] b = Abs (a)  ["/c/MatMul"] c = MatMul (b, b)
        ["/d/Neg"] d = Neg (c)  ["/e/Abs"] e = Abs (d)  ["/f/MatMul"] y = MatMul (e, e)
    }"""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    members = [[name[1] for name in block.nodes] for block in partition(model)]
    assert members == [["a", "b", "c", "d", "e"], ["f"]]
