"""NVFP4 in TensorRT-RTX's builder: a transformer's products, and ModelOpt's, multiply 4-bit floats."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.errors import TrialError
from vit import built, transformer

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[tensorrt-rtx]'")


def modelopt(path: Path) -> Path:
    """A linear layer as ModelOpt exports it: nothing tells the types that its quantiser makes."""
    random = np.random.default_rng(0)
    weights = {
        "w_f4": random.uniform(-6, 6, (64, 64)).astype(ml_dtypes.float4_e2m1fn),
        "w_f8_scale": random.uniform(1, 448, (64, 4)).astype(ml_dtypes.float8_e4m3fn),
        "w_f32_scale": np.float32(0.001),
        "x_scale": np.float32(0.002),
    }
    nodes = [
        helper.make_node(
            "TRT_FP4DynamicQuantize", ["x", "x_scale"], ["x_f4", "x_f8_scale"],
            domain="trt", axis=-1, block_size=16, scale_type=TensorProto.FLOAT8E4M3FN,
        ),
        helper.make_node("DequantizeLinear", ["x_f8_scale", "x_scale"], ["x_scales"]),
        helper.make_node("DequantizeLinear", ["x_f4", "x_scales"], ["x_dq"], axis=-1, block_size=16),
        helper.make_node("DequantizeLinear", ["w_f8_scale", "w_f32_scale"], ["w_scales"]),
        helper.make_node("DequantizeLinear", ["w_f4", "w_scales"], ["w_dq"], axis=-1, block_size=16),
        helper.make_node("Transpose", ["w_dq"], ["w_t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x_dq", "w_t"], ["y"], name="linear"),
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 32, 64]) for name in "xy"]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "linear", ends[:1], ends[1:], tensors)
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("trt", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=11), path)
    return path


@pytest.mark.parametrize("target", ["12.0", "12.1"])
def test_every_product_of_a_transformer_with_weights_multiplies_four_bit_floats(
    tmp_path: Path, target: str
) -> None:
    block_audit = built(transformer(tmp_path / "vit.onnx"), target)
    assert (block_audit.ran, block_audit.matches, block_audit.detail) == ("f4 x7", True, "gemm x7")


@pytest.mark.parametrize("target", ["8.0", "8.6", "8.9"])
def test_a_gpu_without_it_is_told_in_one_line(tmp_path: Path, target: str) -> None:
    wanted = rf"^Cannot compile for target\(s\) sm{target.replace('.', '')}.*fp4_e2m1.*$"
    with pytest.raises(TrialError, match=wanted):
        built(transformer(tmp_path / "vit.onnx"), target)


@pytest.mark.parametrize(("precision", "ran"), [("nvfp4", "f4 x1"), ("fp16", "f16 x1")])
def test_a_layer_of_modelopt_runs_as_it_came_or_in_floats(tmp_path: Path, precision: str, ran: str) -> None:
    block_audit = built(modelopt(tmp_path / "linear.onnx"), "12.0", precision)
    assert (block_audit.ran, block_audit.matches) == (ran, True)
