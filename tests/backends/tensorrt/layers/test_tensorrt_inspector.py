"""Engine descriptions as the inspectors of full TensorRT print them, and what blocks are said to have run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoprec.backends.tensorrt.layers import kernels_of, layers_from_json
from autoprec.measurement.audit import audit
from autoprec.records import Assignment, Block

PHRASES = {
    "Int8": "Thirty-two wide channel vectorized row major Int8 format",
    "Half": "Channel major FP16 format where channel % 8 == 0",
    "Float": "Row major linear FP32",
    "BFloat16": "Row major linear BFloat16 format",
    "FP8": "Row major linear FP8 format",
    "Int4": "Row major linear Int4 format",
}
"""By type, how TensorRT 8 to 10 tell a tensor's format and type together."""


def tensor(version: int, dtype: str) -> dict[str, Any]:
    told = {"Name": "t", "Location": "Device", "Dimensions": [1, 64, 32, 32]}
    if version < 11:
        return told | {"Format/Datatype": PHRASES[dtype]}
    return told | {"Datatype": dtype, "Format": "(Linear) Row major linear format"}


def layer(version: int, kind: str, types: str, nodes: str, **more: Any) -> dict[str, Any]:
    """One layer; `types` is `INPUTS | OUTPUTS`."""
    inputs, outputs = (part.split() for part in types.split("|"))
    return {
        "Name": " + ".join(nodes.split()),
        "LayerType": kind,
        "Inputs": [tensor(version, dtype) for dtype in inputs],
        "Outputs": [tensor(version, dtype) for dtype in outputs],
        "TacticName": "",
        "StreamId": 0,
        "Metadata": "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes.split()),
    } | more


def ran(version: int, *layers: dict[str, Any], asked: str = "int8") -> tuple[str, bool | None]:
    """What the block of the node `op` is said to have run in, and whether that is what was asked."""
    told = {"Layers": list(layers), ("Bindings" if version < 11 else "I/O Tensors"): ["x", "y"]}
    kernels = kernels_of(layers_from_json(json.dumps(told)), {})
    block = Block(name="block", nodes=("op", "relu", "skip", "norm"))
    (audits,) = audit([block], Assignment(choices=(("block", asked),)), kernels, ["op"])
    return audits.ran.partition(" ")[0], audits.matches


def weights(dtype: str) -> dict[str, Any]:
    return {"ParameterType": "Convolution", "Weights": {"Type": dtype, "Count": 36864}}


CASES: dict[str, tuple[tuple[str, str, str, dict[str, Any]], str, str]] = {
    "an INT8 convolution with ReLU": (
        ("CaskConvolution", "Int8 | Int8", "w autoprec/q/w op relu", weights("Int8")), "i8", "int8"),
    "one with a fused residual in FP16": (
        ("CaskConvolution", "Int8 Half | Half", "op skip relu", weights("Int8")), "i8", "int8"),
    "one with a fused residual in INT8": (
        ("CaskConvolution", "Int8 Int8 | Int8", "op skip relu", weights("Int8")), "i8", "int8"),
    "one that writes floats": (("CaskConvolution", "Int8 | Float", "op", weights("Int8")), "i8", "int8"),
    "a depthwise one": (
        ("CaskConvolution", "Int8 | Half", "op", weights("Int8") | {"Groups": 64}), "i8", "int8"),
    "one with the pooling in it": (
        ("ConvActPool", "Int8 | Int8", "op", {"ConvWeights": {"Type": "Int8", "Count": 9408}}), "i8", "int8"),
    "a transposed one": (("CaskDeconvolution", "Int8 | Int8", "op", weights("Int8")), "i8", "int8"),
    "a convolution that was not fused with its Q/DQ": (
        ("CaskConvolution", "Half | Half", "op relu", weights("Half")), "f16", "fp16"),
    "a BF16 convolution": (
        ("CaskConvolution", "BFloat16 | BFloat16", "op", weights("BFloat16")), "bf16", "bf16"),
    "an FP32 convolution": (("CaskConvolution", "Float | Float", "op", weights("Float")), "f32", "fp32"),
    "an FP8 matrix product": (("gemm", "FP8 FP8 | Half", "op", {}), "f8", "fp8"),
    "an FP8 matrix product with known weights": (
        ("CaskGemmMatrixMultiply", "FP8 | Half", "op", weights("FP8")), "f8", "fp8"),
    "INT8 weights beside half activations": (
        ("CaskGemmMatrixMultiply", "Half | Half", "op", weights("Int8")), "i8w", "int8-weights"),
    "fused attention in FP16": (
        ("kgen", "Half Half Half | Half", "op norm", {"TacticName": "_gemm_mha_v2_0xa1"}), "f16", "fp16"),
    "fused attention in FP8": (
        ("kgen", "FP8 FP8 FP8 | Half", "op norm", {"TacticName": "_gemm_mha_v2_0xa1"}), "f8", "fp8"),
    "an INT8 product with its weights beside a residual, told by its kernel": (
        ("gemm", "Int8 Half Int8 Float | Half", "op", {"TacticName": "sm80_xmma_gemm_i8f32_i8i32_f32_tn_n"}),
        "i8", "int8"),
    "an FP8 product told by its kernel": (
        ("gemm", "Float FP8 FP8 | Half", "op", {"TacticName": "sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n"}),
        "f8", "fp8"),
    "a product of four-bit weights": (("gemm", "Half Int4 Half | Half", "op", {}), "i4", "int4"),
    "weights whose type stands under another word": (
        ("CaskConvolution", "Int8 Half | Half", "op", {"Weights": {"DataType": "Int8"}}), "i8", "int8"),
    "a region of floats": (("Myelin", "Half | Half", "op norm skip", {"Name": "{ForeignNode[op...skip]}"}),
                           "f16", "fp16"),
}  # fmt: skip


@pytest.mark.parametrize("version", [10, 11])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_runs_in(case: str, version: int) -> None:
    (kind, types, nodes, more), short, asked = CASES[case]
    assert ran(version, layer(version, kind, types, nodes, **more), asked=asked) == (short, True)


@pytest.mark.parametrize("version", [10, 11])
def test_a_convolution_whose_qdq_was_not_fused_did_not_run_as_asked(version: int) -> None:
    output = ran(
        version,
        layer(version, "Reformat", "Half | Int8", "autoprec/q/x"),
        layer(version, "Reformat", "Int8 | Half", "autoprec/dq/x"),
        layer(version, "CaskConvolution", "Half | Half", "op relu", **weights("Half")),
    )
    assert output == ("f16", False)


@pytest.mark.parametrize("version", [10, 11])
def test_a_region_with_quantised_nodes_is_left_open(version: int) -> None:
    region = layer(version, "Myelin", "Half | Half", "norm autoprec/q/x autoprec/dq/x op")
    region["Name"] = "{ForeignNode[norm...op]}"
    assert ran(version, region) == ("", None)


@pytest.mark.parametrize("version", [10, 11])
@pytest.mark.parametrize("inside", ["autoprec/cast/x/float", "/norm/Cast_1", "x_QuantizeLinear"])
def test_a_region_in_which_types_change_is_left_open(version: int, inside: str) -> None:
    region = layer(version, "Myelin", "Half | Half", f"norm {inside} op", Name="{ForeignNode[norm...op]}")
    assert ran(version, region, asked="fp32") == ("", None)


@pytest.mark.parametrize("version", [10, 11])
@pytest.mark.parametrize("types", ["Int8 Half", "Float Half", "Float FP8 FP8"])
def test_a_product_with_unlike_inputs_in_a_row_is_left_open(version: int, types: str) -> None:
    assert ran(version, layer(version, "gemm", f"{types} | Half", "op")) == ("", None)


def test_a_product_reads_the_constant_of_its_own_type_as_its_weights() -> None:
    constants = [tensor(11, "Float"), tensor(11, "Int8")]
    assert ran(11, layer(11, "gemm", "Int8 | Half", "op", Constants=constants)) == ("i8", True)


@pytest.mark.parametrize(
    "metadata",
    [
        "[ONNX Layer: op | Local Function: block]\x1f[ONNX Layer: relu | Local Function: block]",
        "[ONNX Layer: w]\x1e\x1e[ONNX Layer: op]\x1e",
        "[ONNX Layer: op], [ONNX Layer: relu]",
        "[ONNX Layer: op]__gemm_from_conv1x1\x1e(Unnamed Layer* 3) [Constant]",
        "",  # what the builder made without the parser: the name alone tells
    ],
)
def test_the_nodes_of_a_layer_are_found_in(metadata: str) -> None:
    conv = layer(10, "CaskConvolution", "Int8 | Int8", "op relu", **weights("Int8"), Metadata=metadata)
    assert ran(10, conv) == ("i8", True)


@pytest.mark.parametrize("version", [10, 11])
def test_a_layer_that_only_moves_values_says_nothing_of_its_node(version: int) -> None:
    copy = layer(version, "Reformat", "Half | Half", "op")
    conv = layer(version, "CaskConvolution", "Int8 | Half", "op", **weights("Int8"))
    assert ran(version, copy, conv) == ("i8", True)


def test_before_tensorrt_10_the_nodes_of_a_layer_stand_in_its_name() -> None:
    conv = layer(8, "CaskConvolution", "Int8 Half | Half", "op skip relu", **weights("Int8"))
    copy = layer(8, "NoOp", "Half | Half", "op", Name="Reformatting CopyNode for Input Tensor 1 to op + skip")
    del conv["Metadata"], copy["Metadata"]
    assert ran(8, copy, conv) == ("i8", True)


@pytest.mark.parametrize(
    "name", ["other || op", "op + PWN(PWN(act/Sigmoid), act/Mul) || other", "w + q/w + op + skip + relu"]
)
def test_before_tensorrt_10_nodes_stand_side_by_side_too(name: str) -> None:
    told = layer(
        8, "CaskGemmConvolution", "Int8 | Int8", "op", Name=name, Origin="CONVOLUTION", **weights("Int8")
    )
    del told["Metadata"]
    assert ran(8, told) == ("i8", True)


def test_before_tensorrt_10_pointwise_nodes_are_wrapped() -> None:
    told = layer(8, "PointWiseV2", "Half | Half", "x", Name="PWN(PWN(/act/Sigmoid), /act/Mul)")
    del told["Metadata"]
    (parsed,) = layers_from_json(json.dumps({"Layers": [told]}))
    assert parsed.nodes == ("/act/Sigmoid", "/act/Mul")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"Layers": ["op + relu"]}', '{"Layers": [{"Inputs": [3]}]}']
)
def test_a_description_that_tells_nothing_leaves_all_open(text: str) -> None:
    assert [kernel.precision for kernel in kernels_of(layers_from_json(text), {}) if kernel.nodes] == []


def test_separators_between_nodes_may_be_raw() -> None:
    text = json.dumps({"Layers": [layer(10, "CaskConvolution", "Half | Half", "op relu")]})
    (parsed,) = layers_from_json(text.replace("\\u001e", "\x1e"))
    assert parsed.nodes == ("op", "relu")
