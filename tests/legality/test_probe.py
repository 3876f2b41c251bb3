"""Legality on real engines: TensorRT-RTX without a GPU."""

from __future__ import annotations

from pathlib import Path

import msgspec
import onnx_ir as ir
import pytest

from autoprec.backends.openvino import OpenVinoBackend
from autoprec.backends.tensorrt import TensorRTBackend
from autoprec.legality.patterns import PATTERNS, block_patterns, float_model, node_patterns
from autoprec.legality.verdicts import Legality, Verdict, refused_precisions
from autoprec.records import Block
from patterns import question, tried

FLOAT_CONV = Verdict(pattern="conv", precision="int8", state="dequantised", ran="f16", reason="dequantised")
INT8_GEMM = Verdict(pattern="gemm", precision="int8", state="legal", ran="i8")
NO_NORM = Verdict(pattern="layer_norm", precision="fp16", state="refused", reason="build: no")


SURROUNDINGS = {name for name in PATTERNS if name.startswith("behind_")} | {"two_readers"}


@pytest.fixture
def sm86() -> TensorRTBackend:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    return TensorRTBackend({"compute_capabilities": "8.6"})


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - SURROUNDINGS))
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_pattern_is_recognised_in_its_own_graph(pattern: str, precision: str, tmp_path: Path) -> None:
    model = ir.load(question(tmp_path, pattern, precision).model_path)
    patterns = node_patterns(model)
    assert pattern in block_patterns(patterns, patterns, [node.op_type for node in model.graph])


def test_a_block_is_refused_what_one_of_its_patterns_fails_in() -> None:
    legality = Legality(base="fp16", verdicts=(INT8_GEMM, NO_NORM))
    assert legality.refusals(["gemm", "layer_norm"], ["int8"]) == (("int8", "layer_norm: build: no"),)


def test_a_block_is_refused_a_precision_only_if_all_of_it_is_dequantised() -> None:
    legality = Legality(base="fp16", verdicts=(INT8_GEMM, FLOAT_CONV))
    assert legality.refusals(["gemm", "conv"], ["int8"]) == ()
    assert legality.refusals(["conv"], ["int8"]) == (("int8", "conv: dequantised"),)
    other = msgspec.structs.replace(FLOAT_CONV, pattern="gemm", reason="in floats")
    both = Legality(base="fp16", verdicts=(FLOAT_CONV, other))
    assert both.refusals(["conv", "gemm"], ["int8"]) == (("int8", "conv: dequantised"),)


def test_floats_are_the_same_where_every_pattern_that_is_told_ran_alike() -> None:
    ran = {"fp32": ("f32", ""), "fp16": ("f32", "f32"), "bf16": ("bf16", "f32"), "int8": ("i8", "")}
    verdicts = [
        Verdict(pattern=pattern, precision=name, state="legal", ran=kernels)
        for name, both in ran.items()
        for pattern, kernels in zip(("gemm", "conv"), both, strict=True)
    ]
    legality = Legality(base="fp16", verdicts=tuple(v for v in verdicts if v.pattern == "gemm"))
    assert legality.same_floats(ran) == {"fp16": "fp32"}
    assert Legality(base="fp16", verdicts=tuple(verdicts)).same_floats(ran) == {}
    assert Legality(base="fp16").same_floats(ran) == {}, "engines that hide their kernels tell nothing"


def test_a_model_s_blocks_are_refused_by_what_is_in_them(tmp_path: Path) -> None:
    model = float_model("conv", tmp_path)
    blocks = [Block(name="a", nodes=("op",), op_counts=(("Conv", 1),)), Block(name="b", nodes=())]
    legality = Legality(base="fp16", verdicts=(FLOAT_CONV, NO_NORM))
    assert refused_precisions(blocks, model, legality, ["int8"]) == {("a", "int8"): "conv: dequantised"}


def test_a_table_survives_as_json() -> None:
    legality = Legality(base="fp16", verdicts=(INT8_GEMM, NO_NORM))
    assert msgspec.json.decode(msgspec.json.encode(legality), type=Legality) == legality


def test_a_variant_is_judged_as_the_plain_precision() -> None:
    legality = Legality(base="fp16", verdicts=(FLOAT_CONV,))
    assert legality.refusals(["conv"], ["int8+smooth"]) == (("int8+smooth", "conv: dequantised"),)
    assert legality.lacks(["conv", "gemm"], ["int8", "int8+smooth"]) == [("gemm", "int8")]


def test_a_1x1_convolution_that_is_written_as_a_product_is_judged_as_one() -> None:
    conv = Verdict(pattern="conv", precision="int8", state="refused", reason="no")
    pointwise = msgspec.structs.replace(conv, pattern="conv_1x1")
    product = Verdict(pattern="matmul_weight", precision="int8", state="legal", ran="i8")
    legality = Legality(base="bf16", verdicts=(conv, pointwise, product))
    patterns, names = ["conv", "conv_1x1"], ["int8", "int8+gemm"]
    assert legality.refusals(patterns, names) == (("int8", "conv: no"),)
    assert legality.lacks(patterns, names) == [("conv", "bf16")]


def test_a_pattern_that_a_precision_leaves_in_floats_is_judged_in_the_base() -> None:
    legality = Legality(base="fp16", verdicts=(NO_NORM,))
    assert legality.find("layer_norm", "int8") == legality.find("layer_norm", "fp16") == NO_NORM
    assert legality.lacks(["softmax"], ["fp16", "int8", "fp8"]) == [("softmax", "fp16")]


def test_an_operator_without_bf16_is_widened_instead_of_refusing_its_block(
    sm86: TensorRTBackend, tmp_path: Path
) -> None:
    assert tried(tmp_path, sm86, "hard_swish", "bf16", "bf16").is_legal


def test_int8_is_legal_for_a_product_and_not_for_a_transposed_convolution(
    sm86: TensorRTBackend, tmp_path: Path
) -> None:
    assert tried(tmp_path, sm86, "gemm", "int8").is_legal
    assert tried(tmp_path, sm86, "conv_transpose", "int8").reason == "dequantised: asked for i8, ran f16"


@pytest.mark.parametrize("pattern", ["gemm", "matmul_weight"])
def test_nvfp4_is_legal_on_blackwell_alone(pattern: str, sm86: TensorRTBackend, tmp_path: Path) -> None:
    blackwell = TensorRTBackend({"compute_capabilities": "12.0"})
    verdict = tried(tmp_path, blackwell, pattern, "nvfp4")
    assert (verdict.state, verdict.ran) == ("legal", "f4")
    assert "fp4_e2m1" in tried(tmp_path, sm86, pattern, "nvfp4").reason


def test_openvino_has_no_nvfp4_and_says_why_in_one_line(tmp_path: Path) -> None:
    verdict = tried(tmp_path, OpenVinoBackend({}), "gemm", "nvfp4", "fp32")
    assert verdict.state == "refused"
    assert "No conversion rule found for operations: trt.TRT_FP4DynamicQuantize" in verdict.reason
    assert "\n" not in verdict.reason


def test_products_of_activations_are_judged_in_the_base_where_weights_alone_have_blocks() -> None:
    legality = Legality(base="bf16")
    for precision in ("int4", "nvfp4"):
        assert legality.lacks(["attention", "matmul"], [precision]) == [
            ("attention", "bf16"),
            ("matmul", "bf16"),
        ]


def test_a_product_in_floats_does_not_excuse_that_all_quantised_ones_are_dequantised() -> None:
    gemm = Verdict(pattern="gemm", precision="nvfp4", state="dequantised", ran="bf16", reason="dequantised")
    attention = Verdict(pattern="attention", precision="bf16", state="legal", ran="bf16")
    legality = Legality(base="bf16", verdicts=(gemm, attention))
    assert legality.refusals(["gemm", "attention"], ["nvfp4"]) == (("nvfp4", "gemm: dequantised"),)


def test_fp8_fails_on_compute_capability_8_6_with_the_reason(sm86: TensorRTBackend, tmp_path: Path) -> None:
    verdict = tried(tmp_path, sm86, "attention", "fp8")
    assert verdict.state == "refused"
    assert "fp8_e4m3" in verdict.reason
