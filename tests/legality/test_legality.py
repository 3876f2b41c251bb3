"""What a block may be, and the reason where it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from autoprec.errors import SpecError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.legality.judge import _pins, judge
from autoprec.legality.patterns import block_patterns
from autoprec.records import Block

HEAD = '<ir_version: 10, opset_import: ["": 22]> net (float[4,64] x) => (float[4,64] y) '
GELU = HEAD + "{ y = Gelu(x) }"
ATTENTION = HEAD + "{ t = Transpose(x)  s = MatMul(x, t)  p = Softmax(s)  y = MatMul(p, x) }"
PRODUCT = HEAD + "<float[64,64] w> { y = MatMul(x, w) }"
SHORT = '<ir_version: 10, opset_import: ["": 22]> net (float[4,8] x) => (float[4,8] y) <float[8,8] w> '
SHORT += "{ y = MatMul(x, w) }"
POINTWISE = '<ir_version: 10, opset_import: ["": 22]> net (float[1,64,4,4] x) => (float[1,8,4,4] y) '
POINTWISE += "<float[8,64,1,1] w> { y = Conv(x, w) }"
RESIDUAL = HEAD + "<float[64,64] w> { h = MatMul(x, w)  y = Add(h, x) }"
EINSUM = HEAD + '<float[64,64] w> { y = Einsum<equation = "ij,jk->ik">(x, w) }'


def judged(folder: Path, text: str, *precisions: str, **more: Any) -> Block:
    proto = onnx.parser.parse_model(text)
    for value in proto.graph.value_info:
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(sizes, np.float32), value.name))
    onnx.save(proto, folder / "model.onnx")
    model = load_model(folder / "model.onnx")
    [block] = judge(partition(model, minimum=1, maximum=1), model, ("fp32", *precisions), **more)
    return block


@pytest.mark.parametrize(
    ("text", "precision", "reason"),
    [
        (GELU, "int8", "no op that would gain"),
        (GELU, "fp8", "no op that would gain"),
        (ATTENTION, "int4", "no op that would gain"),
        (SHORT, "int4", "divides into blocks of 32"),
        (SHORT, "nvfp4", "divides into blocks of 16"),
        (ATTENTION, "nvfp4", "no op that would gain"),
        (ATTENTION, "int8-weights", "no op that would gain"),
        (EINSUM, "bf16", "Einsum does not take BFLOAT16"),
    ],
)
def test_a_precision_that_gives_nothing_is_refused_with_the_reason(
    text: str, precision: str, reason: str, tmp_path: Path
) -> None:
    block = judged(tmp_path, text, precision)
    assert block.allowed == ("fp32",)
    assert reason in dict(block.refused)[precision]


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        (GELU, "fp16"),
        (GELU, "bf16"),
        (ATTENTION, "int8"),
        (PRODUCT, "int4"),
        (PRODUCT, "nvfp4"),
        (POINTWISE, "nvfp4"),
        (SHORT, "int8-weights"),
        (PRODUCT, "int8+smooth"),
        (EINSUM, "fp16"),
    ],
)
def test_a_precision_that_fits_is_allowed_in_the_order_of_the_list(
    text: str, precision: str, tmp_path: Path
) -> None:
    assert judged(tmp_path, text, precision).allowed == ("fp32", precision)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (PRODUCT, ()),
        (POINTWISE, ("int8+gemm",)),
        (RESIDUAL, ("int8+float-add", "int8+gemm")),
    ],
)
def test_a_part_of_a_variant_is_a_choice_where_it_changes_something(
    text: str, own: tuple[str, ...], tmp_path: Path
) -> None:
    names = ("int8+float-add", "int8+gemm")
    block = judged(tmp_path, text, "int8", *names)
    assert block.allowed == ("fp32", "int8", *own)
    assert dict(block.refused) == {name: "is the same as int8 here" for name in names if name not in own}


def test_a_pin_leaves_one_precision(tmp_path: Path) -> None:
    name = judged(tmp_path, PRODUCT).name
    block = judged(tmp_path, PRODUCT, "fp16", "int8", pin={name[:5] + "*": "int8"})
    assert block.allowed == ("int8",)
    assert dict(block.refused)["fp16"] == "pinned to int8"


def test_reasons_from_the_engine_are_kept(tmp_path: Path) -> None:
    name = judged(tmp_path, PRODUCT).name
    block = judged(tmp_path, PRODUCT, "int8", refused={(name, "int8"): "the engine ran float"})
    assert dict(block.refused)["int8"] == "the engine ran float"


def test_a_pin_that_matches_nothing_is_named_with_near_names(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"'block_00_matmul_9'.*block_00_matmul_64"):
        judged(tmp_path, PRODUCT, pin={"block_00_matmul_9": "fp32"})


def test_a_block_that_may_have_nothing_is_an_error_with_all_reasons(tmp_path: Path) -> None:
    name = judged(tmp_path, PRODUCT).name
    refused = {(name, "fp32"): "too slow", (name, "int8"): "too coarse"}
    with pytest.raises(SpecError, match=r"fp32: too slow; int8: too coarse"):
        judged(tmp_path, PRODUCT, "int8", refused=refused)


@pytest.mark.parametrize(
    ("nodes", "op_types", "pattern"),
    [
        ("one two", "MatMul Softmax", "attention"),
        ("one two", "MatMul Relu Div", "relu_linear_attention"),
        ("one", "MatMul Softmax", ""),
        ("one", "MatMul Relu Div", ""),
        ("one two", "MatMul Relu", ""),
        ("one two", "MatMul Add", ""),
    ],
)
def test_two_products_make_attention_by_what_stands_between_them(
    nodes: str, op_types: str, pattern: str
) -> None:
    counts = block_patterns(nodes.split(), {"one": "matmul", "two": "matmul"}, op_types.split())
    assert set(counts) == {"matmul", pattern} - {""}
    assert counts["matmul"] == len(nodes.split())


def test_three_near_names_are_shown_and_no_more(tmp_path: Path) -> None:
    blocks = [Block(name=f"stage{n}.attention", nodes=(), allowed=("fp32",)) for n in range(5)]
    with pytest.raises(SpecError, match="similar names") as told:
        _pins(blocks, {"stage.attentive": "fp32"})
    assert str(told.value).count("stage") == 4
