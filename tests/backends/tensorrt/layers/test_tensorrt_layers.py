"""Layer lists are read without TensorRT: the texts below are what it wrote."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from autoprec.backends.tensorrt.layers import (
    Layer,
    inspected_layers,
    kernels_of,
    layers_from_json,
    layers_from_message,
)

STUB = "__myelin_CASK_STUB"


def line(name: str, kind: str, tactic: str, types: str, *nodes: str) -> str:
    """One layer as TensorRT-RTX 1.7.1 lists it; `types` is `INPUTS | CONSTANTS | OUTPUTS`."""
    lists = []
    for key, part in zip(("Inputs", "Constants", "Outputs"), types.split("|"), strict=True):
        tensors = (
            f"{{ Name: t, Dimensions: [1,8,4], Strides: [32,4,1], StrideOrder: [2,1,0], Datatype: {dtype}, "
            "Format: (Linear) Row major linear format }"
            for dtype in part.split()
        )
        lists.append(f"{key}: [ {', '.join(tensors)}]")
    metadata = "".join(f"[ONNX Layer: {node}]" for node in nodes)
    ends = f"TacticName: {tactic}, StreamId: 0, Metadata: {metadata}"
    return ", ".join((f"Name: {name}, LayerType: {kind}", *lists, ends))


INT8_CONV = f"""Layers:
{line("conv_myl0_1", "correlation", STUB, "Int8 | Int8 Float | Float", "/a/Conv", "/a/DQ")}
{line("__myl_MulAdd_myl0_2", "kgen", "__myl_MulAdd_0xc0", "Float | Half | Half", "/a/Conv", "/a/Add")}

I/O Tensors:
 Name: x, IOMode: Input, DataType: Float
"""


def test_the_message_gives_each_layer_its_nodes_and_types() -> None:
    conv, rescale = layers_from_message(INT8_CONV)
    assert (conv.nodes, conv.inputs, conv.constants) == (("/a/Conv", "/a/DQ"), ("i8",), ("i8", "f32"))
    assert (conv.is_product, rescale.is_product) == (True, False)


def test_a_convolution_counts_for_its_product_and_not_for_the_rescaling_after_it() -> None:
    conv, rescale = kernels_of(layers_from_message(INT8_CONV), {"conv_myl0_1": 0.25})
    assert (conv.precision, conv.time_ms, conv.kernel) == ("i8", 0.25, "correlation")
    assert (rescale.nodes, rescale.kernel) == (("/a/Add",), "kgen MulAdd")


def test_int8_weights_beside_half_activations_are_told_apart_from_int8() -> None:
    text = line("__myl_CastMulFc_myl0_1", "runtime_fusion", "", "Half | Int8 Half | Half", "op")
    (layer,) = layers_from_message(text)
    assert (layer.is_product, layer.precision, layer.kernel) == (True, "i8w", "runtime_fusion CastMulFc")


def test_int8_activations_beside_weights_that_were_dequantised_before_are_seen_as_bf16() -> None:
    text = line("__myl_CastMulFc_myl0_2", "runtime_fusion", "", "Int8 BFloat16 |  | BFloat16", "qkv")
    assert layers_from_message(text)[0].precision == "bf16"


def test_a_product_of_two_int8_activations_is_int8_whatever_its_scales_are() -> None:
    text = line("qk_myl0_2", "gemm", STUB, "Int8 Int8 | Float Float | Half", "qk")
    assert layers_from_message(text)[0].precision == "i8"


def test_four_bit_weights_count_although_the_product_is_in_half() -> None:
    text = line("__myl_CastMulFc_myl0_1", "runtime_fusion", "", "Half | Int4 Half | Half", "op")
    assert layers_from_message(text)[0].precision == "i4"


def test_nvfp4_is_read_where_both_operands_are_four_bit_floats() -> None:
    text = line("op_myl0_3", "gemm", STUB, "FP4E2M1 FP8 | FP4E2M1 Float Float FP8 | Half", "op")
    assert layers_from_message(text)[0].precision == "f4"


def test_four_bit_floats_that_a_product_dequantises_are_seen_as_half() -> None:
    text = line("__myl_CastMulFc_myl0_1", "runtime_fusion", "", "Half | FP4E2M1 Half | Half", "op")
    assert layers_from_message(text)[0].precision == "f16"


def test_node_names_with_brackets_and_commas_survive() -> None:
    text = line("op", "gemm", STUB, "FP8 | FP8 | Half", "blocks[3].mlp, fc1", "x")
    assert layers_from_message(text)[0].nodes == ("blocks[3].mlp, fc1", "x")


def test_a_convolution_that_became_a_matrix_product_keeps_its_name() -> None:
    text = line("__myl_FcAdd_myl0_14", "runtime_fusion", "", "Half | Half Half | Half", "/a/Conv", "/b/Add")
    (layer,) = layers_from_message(f"{text}__gemm_from_conv1x1".replace("Conv]", "Conv]__gemm_from_conv1x1"))
    assert layer.nodes == ("/a/Conv", "/b/Add")


def test_the_inspector_of_tensorrt_10_hides_the_type_in_the_format() -> None:
    layer = {
        "Name": "conv1 + relu1",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Format/Datatype": "Thirty-two wide channel row major Int8 format"}],
        "Outputs": [{"Name": "y", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
        "TacticName": "sm80_xmma_fprop",
        "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]",
    }
    (parsed,) = layers_from_json(json.dumps({"Layers": [layer], "Bindings": ["x", "y"]}))
    assert (parsed.nodes, parsed.precision, parsed.outputs) == (("conv1", "relu1"), "i8", ("f16",))


def test_an_engine_without_details_lists_no_layers() -> None:
    assert layers_from_json('{"Layers": ["conv1 + relu1"], "Bindings": []}') == ()


def test_a_message_with_a_line_of_another_form_is_not_half_read() -> None:
    lines = INT8_CONV.replace("TacticName: __myl_MulAdd_0xc0", "Tactic: 0xc0")
    assert layers_from_message(lines) == ()


def test_a_message_with_events_between_streams_is_read() -> None:
    signal = line("wait", "signal", "", " |  | ").replace("StreamId: 0", "StreamId: 0, EventId: 1")
    assert [layer.kind for layer in layers_from_message(f"Layers:\n{signal}\n")] == ["signal"]


def test_a_node_name_may_hold_what_python_takes_for_a_line_break() -> None:
    text = line("op", "gemm", STUB, "FP8 | FP8 | Half", "a", "b").replace("][", "]\x1e[")
    assert layers_from_message(text)[0].nodes == ("a", "b")


def told(
    kind: str = "gemm", inputs: str = "", constants: str = "", outputs: str = "f16", **more: Any
) -> Layer:
    """A layer with these types, each a list of words."""
    listed = {
        "name": "op",
        "kind": kind,
        "tactic": "",
        "nodes": ("op",),
        "inputs": tuple(inputs.split()),
        "constants": tuple(constants.split()),
        "outputs": tuple(outputs.split()),
    }
    return Layer(**(listed | more))


NARROW = "sm80_xmma_gemm_i8i8_i8i32_f32_tn_n"
MIXED = "sm80_xmma_gemm_i8f32_f16i32_f32_tn_n"


@pytest.mark.parametrize(
    ("layer", "precision"),
    [
        (told("Reformat", "i8", outputs="i8"), ""),
        (told("Activation", "f16", outputs="f16"), "f16"),
        (told("Activation", "f16 i64", outputs="f16"), "f16"),
        (told("Activation", "f16", outputs="f32"), ""),
        (told("Activation", "i8", outputs="i8"), ""),
        (told("Myelin", "f16 f16", outputs="f16"), "f16"),
        (told("Myelin", "f16 i8", outputs="f16"), ""),
        (told("Myelin", "f16 f32 bf16", outputs="f16"), ""),
        (told("Myelin", "f16", nodes=("a", "autoprec/cast/x")), ""),
        (told("conv", "i8", weights="i8"), "i8"),
        (told("gemm", "f16", weights="i8"), "i8w"),
        (told("CaskGemmConvolution", "f16", weights="i8"), "i8"),
        (told("CaskGemmMatrixMultiply", "f16", weights="i8"), "i8w"),
        (told("conv", "f16", weights="i8"), "i8"),
        (told("ConvGemm", "f16", weights="i8"), "i8"),
        (told("gemm", "", weights="i8"), "i8"),
        (told("gemm", "i8 f16", weights="i8"), "i8"),
        (told("gemm", "f16 i4"), "i4"),
        (told("gemm", "f16", "i4"), "i4"),
        (told("gemm", "f16 f16 i4"), "f16"),
        (told("gemm", "f16", "f16 i4"), "f16"),
        (told("gemm", "f16", "i8"), "i8w"),
        (told("gemm", "f16 i8", "i8"), "f16"),
        (told("gemm", "i8 i8", "i8"), "i8"),
        (told("gemm", "f16 f32", tactic=NARROW), "i8"),
        (told("gemm", "f16 f32", tactic=MIXED), ""),
        (told("gemm", "i8 f16", "i8"), "i8"),
        (told("gemm", "i8 f16", lists_constants=False), ""),
        (told("gemm", "i8 i8", lists_constants=False), "i8"),
        (told("gemm", "i8 f16"), "f16"),
        (told("gemm", "i8 i8 f16"), "i8"),
        (told("gemm", "i8", "f32"), "f32"),
        (told("gemm", "i64 i8 i8"), "i8"),
        (told("gemm", "i8 i8 f16", lists_constants=False), "i8"),
        (told("gemm", "i8 f16 i8", lists_constants=False), ""),
        (told("gemm", "", "f8 f32"), "f8"),
        (told("gemm", "f16 i8", "f32"), "f16"),
        (told("gemm"), ""),
    ],
    ids=str,
)
def test_what_a_layer_computes_in_is_read_from_its_operands(layer: Layer, precision: str) -> None:
    assert layer.precision == precision


@pytest.mark.parametrize(
    ("layer", "is_product", "kernel"),
    [
        (told("gemm", tactic="_gemm_mha_v2_0xa1"), True, "gemm _gemm_mha_v2"),
        (told("kgen", tactic="mha_v2"), True, "kgen mha_v2"),
        (told("kgen", name="__myl_Fc_my0", tactic="__myelin_CASK_STUB"), True, "kgen Fc"),
        (told("kgen", name="__myl_Add_my0"), False, "kgen Add"),
        (told("kgen", weights="f16"), True, "kgen"),
        (told("Reformat conv", weights="f16"), False, "Reformat conv"),
        (told("gemm", name="{ForeignNode[op...skip]}"), False, "gemm"),
        (told("Pooling"), False, "Pooling"),
    ],
    ids=str,
)
def test_products_decide_and_kernels_have_names_without_what_differs(
    layer: Layer, is_product: bool, kernel: str
) -> None:
    assert (layer.is_product, layer.kernel) == (is_product, kernel)


def test_a_node_in_two_layers_counts_for_its_product_alone() -> None:
    product, bias = told("gemm", "f16 f16", name="a", nodes=("op", "relu")), told("Add", name="b")
    kernels = kernels_of((product, bias), {"a": 2.0})
    assert [(k.nodes, k.time_ms) for k in kernels] == [(("op", "relu"), 2.0), ((), 0.0)]
    assert [k.nodes for k in kernels_of((bias,), {})] == [("op",)]


class Inspector:
    """As the library gives it: with the information of an engine, or none."""

    def __init__(self, text: str | None) -> None:
        self.text, self.execution_context = text, None

    def get_engine_information(self, form: str) -> str | None:
        return self.text if form == "json" and self.execution_context == "context" else None


@pytest.mark.parametrize(
    ("inspector", "names"),
    [(Inspector('{"Layers": [{"Name": "a"}, "b"]}'), ["a"]), (Inspector(None), []), (None, [])],
)
def test_layers_come_from_the_inspector_of_a_loaded_engine(
    inspector: Inspector | None, names: list[str]
) -> None:
    library: Any = SimpleNamespace(trt=SimpleNamespace(LayerInformationFormat=SimpleNamespace(JSON="json")))
    engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
    assert [layer.name for layer in inspected_layers(library, engine, "context")] == names
