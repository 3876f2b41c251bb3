"""Real builds by TensorRT-RTX, which needs no GPU for them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from autoprec.errors import BackendError, TrialError
from patterns import saved
from tensorrt_here import planned_kernels, rtx_alone, tensorrt_backend

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[tensorrt-rtx]'")

TARGETS = ("8.6", "8.9", "12.0")
PRODUCTS = ("conv", "conv_depthwise", "gemm", "matmul_weight", "matmul", "attention", "relu_linear_attention")


def saved_node(
    folder: Path, op: str, dtype: int, shape: list[int | str] | None = None, **attributes: Any
) -> Path:
    """A model of one node, from `x` to `y`."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], "the_node", **attributes)],
        "graph",
        [helper.make_tensor_value_info("x", dtype, shape or [1, 8])],
        [helper.make_tensor_value_info("y", dtype, None)],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("pattern", PRODUCTS)
@pytest.mark.parametrize(
    ("precision", "short"), [("fp32", "f32"), ("fp16", "f16"), ("bf16", "bf16"), ("int8", "i8")]
)
def test_a_product_runs_in_the_type_that_the_graph_asks_for(
    tmp_path: Path, target: str, pattern: str, precision: str, short: str
) -> None:
    kernels = planned_kernels(tensorrt_backend(target), saved(tmp_path, pattern, precision))
    ran = {kernel.precision for kernel in kernels if {"op", "op2"} & set(kernel.nodes)}
    assert ran == {short}


@pytest.mark.parametrize("pattern", PRODUCTS)
def test_fp8_needs_compute_capability_8_9(tmp_path: Path, pattern: str) -> None:
    path = saved(tmp_path, pattern, "fp8")
    kernels = planned_kernels(tensorrt_backend("8.9"), path)
    assert {k.precision for k in kernels if {"op", "op2"} & set(k.nodes)} == {"f8"}
    with pytest.raises(TrialError, match=r"target\(s\) sm86.*fp8_e4m3") as caught:
        planned_kernels(tensorrt_backend("8.6"), path)
    assert caught.value.kind == "build"


def test_fp8_attention_is_one_kernel(tmp_path: Path) -> None:
    kernels = planned_kernels(tensorrt_backend(), saved(tmp_path, "attention", "fp8"))
    assert [{"op", "op2"} <= set(k.nodes) for k in kernels if k.precision == "f8"] == [True]


def test_a_transposed_int8_convolution_is_seen_to_be_dequantised(tmp_path: Path) -> None:
    kernels = planned_kernels(tensorrt_backend(), saved(tmp_path, "conv_transpose", "int8"))
    assert [k.precision for k in kernels if "op" in k.nodes] == ["f16"]


def test_the_same_model_gives_the_same_plan(tmp_path: Path) -> None:
    path = saved(tmp_path, "gemm", "int8")
    assert tensorrt_backend().build_plan(path).data == tensorrt_backend().build_plan(path).data


def test_a_node_that_the_parser_refuses_is_named(tmp_path: Path) -> None:
    path = saved_node(tmp_path, "HardSwish", TensorProto.BFLOAT16)
    with pytest.raises(TrialError, match=r"HardSwish 'the_node': .*BF16") as caught:
        tensorrt_backend().build_plan(path)
    assert caught.value.kind == "build"
    assert "\n" not in str(caught.value)


def test_a_builder_error_is_one_line_without_places_in_its_source(tmp_path: Path) -> None:
    with pytest.raises(TrialError) as caught:
        tensorrt_backend().build_plan(saved(tmp_path, "conv_transpose", "bf16"))
    assert str(caught.value).startswith("Could not infer output types")


def test_a_file_that_is_no_model_fails_to_build(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(TrialError, match="parse"):
        tensorrt_backend().build_plan(path)


def test_a_missing_file_fails_to_build(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="no_such"):
        tensorrt_backend().build_plan(tmp_path / "no_such.onnx")


def test_unsigned_quantisation_is_refused_instead_of_misread(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path, "gemm", "int8"))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT8:
            tensor.data_type = TensorProto.UINT8
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(TrialError, match="UINT8"):
        tensorrt_backend().build_plan(tmp_path / "model.onnx")


def test_a_dynamic_input_needs_a_shape(tmp_path: Path) -> None:
    path = saved_node(tmp_path, "Relu", TensorProto.FLOAT, ["n", 8])
    with pytest.raises(TrialError, match="'x' has a dynamic shape"):
        tensorrt_backend().build_plan(path)
    assert tensorrt_backend(shapes="x=1x8:2x8:4x8").build_plan(path).data


def test_a_build_is_called_off_when_its_time_is_up(tmp_path: Path) -> None:
    with pytest.raises(TrialError) as caught:
        tensorrt_backend(build_seconds=1e-6).build_plan(saved(tmp_path, "attention", "int8"))
    assert caught.value.kind == "timeout"


def test_a_failed_build_leaves_no_trace_in_the_next(tmp_path: Path) -> None:
    ours = tensorrt_backend("8.6")
    with pytest.raises(TrialError):
        ours.build_plan(saved(tmp_path, "gemm", "fp8"))
    assert planned_kernels(ours, saved(tmp_path, "gemm", "fp16"))


@rtx_alone
def test_builds_in_parallel_have_words_and_layers_of_their_own(tmp_path: Path) -> None:
    good = saved(tmp_path, "relu_linear_attention", "fp16")
    bad = saved_node(tmp_path, "Nothing", TensorProto.FLOAT)
    backend = tensorrt_backend()
    alone = backend.build_plan(good)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            building = pool.submit(backend.build_plan, good)
            while not building.done():
                with pytest.raises(TrialError, match="the_node"):
                    backend.build_plan(bad)
            assert building.result() == alone


@rtx_alone
def test_a_target_that_this_version_lacks_is_refused_at_once() -> None:
    with pytest.raises(BackendError, match=re.escape("cannot build for 9.0")):
        tensorrt_backend("9.0")


def test_the_fingerprint_tells_targets_apart() -> None:
    assert tensorrt_backend("8.6").fingerprint() != tensorrt_backend("8.9").fingerprint()


@rtx_alone
def test_without_a_gpu_an_engine_is_refused_with_the_way_out(tmp_path: Path) -> None:
    ours = tensorrt_backend()
    if ours.has_device:
        pytest.skip("there is a GPU")
    with pytest.raises(BackendError, match="no NVIDIA GPU"):
        ours.build(saved(tmp_path, "gemm", "fp16"))
