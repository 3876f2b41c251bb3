"""What the script for ModelOpt is told, and what it passes on; CI runs it for real."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType
from typing import Any

import onnx
import pytest

from autoprec.exporters._script import SCRIPTS
from autoprec.exporters.modelopt import MODES, quantised

TYPED = """
<ir_version: 10, opset_import: ["": 21]>
g (float[2,8] x) => (float[2,8] y)
<float sx = {0.1}, int8 zx = {0}, int8[1,8] w8 = {1,2,3,4,5,6,7,8}, int8 zw = {0}> {
    [q] xq = QuantizeLinear(x, sx, zx)
    [dq] xd = DequantizeLinear(xq, sx, zx)
    [dqw] wd = DequantizeLinear(w8, sx, zw)
    [turned] wt = Transpose(wd)
    [node_MatMul_1] a = MatMul(xd, wt)
    [node_MatMul_10] b = MatMul(a, wd)
    [skip] c = Add(xd, b)
    [node_Relu] y = Relu(c)
}
"""


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("modelopt_quantize", SCRIPTS / "modelopt_quantize.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def graph() -> onnx.GraphProto:
    model: onnx.GraphProto = onnx.parser.parse_model(TYPED).graph
    return model


def test_a_product_counts_as_quantised_where_both_operands_are() -> None:
    assert list(quantised(graph(), MODES["int8"])) == ["node_MatMul_1"]


def test_of_weights_alone_the_activation_does_not_matter() -> None:
    assert list(quantised(graph(), MODES["int8"], weights_alone=True)) == ["node_MatMul_1", "node_MatMul_10"]


def settings(mode: str, *names: str) -> dict[str, Any]:
    return {"quantize_mode": mode, "nodes_to_quantize": list(names)}


def test_a_name_is_not_taken_for_the_beginning_of_another(script: ModuleType) -> None:
    (pattern,) = script.chosen(settings("int8", "node_MatMul_1"), graph())["nodes_to_quantize"]
    assert [node.name for node in graph().node if re.match(pattern, node.name)] == ["node_MatMul_1"]


def test_a_name_may_hold_what_a_pattern_means_otherwise(script: ModuleType) -> None:
    (pattern,) = script.patterns(["/blocks.0/conv[1]/Conv+"])
    assert re.match(pattern, "/blocks.0/conv[1]/Conv+")


def test_int4_is_told_what_to_leave_out(script: ModuleType) -> None:
    (pattern,) = script.chosen(settings("int4", "node_MatMul_1"), graph())["nodes_to_exclude"]
    assert [node.name for node in graph().node if re.match(pattern, node.name)] == ["node_MatMul_10"]


def test_int4_leaves_weights_that_are_read_transposed(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = graph()
    typed.node.append(onnx.helper.make_node("Gemm", ["x", "w"], ["z"], name="linear", transB=1))
    told = script.chosen(settings("int4", "node_MatMul_1", "linear"), typed)
    assert script.patterns(["linear"])[0] in told["nodes_to_exclude"]
    assert "linear stays float" in capsys.readouterr().out
    told = script.chosen(settings("int8", "node_MatMul_1", "linear"), typed)
    assert told == {"nodes_to_quantize": script.patterns(["node_MatMul_1", "linear"])}


def test_where_nothing_matches_it_says_so_instead_of_quantising_all(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        script.chosen(settings("int8", "gone"), graph())
    assert "no product of this trial is quantised" in capsys.readouterr().err
