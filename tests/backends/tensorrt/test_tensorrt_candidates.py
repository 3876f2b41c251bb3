"""Rewritten candidates, built for real by TensorRT-RTX: each block runs in what was asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from autoprec.errors import TrialError
from autoprec.graph.model.load import load_model
from autoprec.graph.model.upgrades.opset import at_opset
from autoprec.graph.ops.costs import COSTLY_OPS
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.measurement.audit import audit
from autoprec.records import Assignment, Block, BlockAudit
from tensorrt_here import MASK, planned_kernels, tensorrt_backend

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[tensorrt-rtx]'")

ENCODER = """
<ir_version: 10, opset_import: ["": 20]>
encoder (float[1,64,16,16] image) => (float[1,256,64] embedding) {
    [conv_expand] e = Conv(image, w_expand)
    [conv_act] a = HardSwish(e)
    [conv_depthwise] d = Conv<group = 64, pads = [1,1,1,1]>(a, w_depthwise)
    [conv_project] p = Conv(d, w_project)
    [conv_skip] s = Add(image, p)
    [mlp_flat] f = Reshape(s, flat)
    [mlp_tokens] t = Transpose<perm = [0,2,1]>(f)
    [mlp_norm] n = LayerNormalization(t, scale, bias)
    [mlp_fc1] h = MatMul(n, w_fc1)
    [mlp_act] g = Gelu(h)
    [mlp_fc2] o = MatMul(g, w_fc2)
    [mlp_skip] embedding = Add(t, o)
}
"""
WEIGHTS = {
    "w_expand": (64, 64, 1, 1),
    "w_depthwise": (64, 1, 3, 3),
    "w_project": (64, 64, 1, 1),
    "scale": (64,),
    "bias": (64,),
    "w_fc1": (64, 128),
    "w_fc2": (128, 64),
}


def audited(folder: Path, target: str, choices: dict[str, str]) -> dict[str, BlockAudit]:
    """What each block of the encoder ran in, by name."""
    proto, random = onnx.parser.parse_model(ENCODER), np.random.default_rng(0)
    for name, shape in WEIGHTS.items():
        array = random.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 64, 256]), "flat"))
    onnx.save(proto, folder / "encoder.onnx")
    model = at_opset(load_model(folder / "encoder.onnx"))
    nodes = [str(node.name) for node in model.graph]
    blocks = [
        Block(name=name, nodes=tuple(node for node in nodes if node.startswith(f"{name}_")))
        for name in choices
    ]
    ranges = {str(value.name): 4.0 for node in model.graph for value in node.outputs} | {"image": 4.0}
    backend = tensorrt_backend(target)
    assignment = Assignment.from_mapping(blocks, choices)
    rewriter = Rewriter(model, blocks, ranges, base=backend.base_precision, widened=backend.widened)
    candidate = rewriter.write(assignment, folder / "candidate.onnx")
    kernels = planned_kernels(backend, Path(candidate.model_path))
    heavy = [str(node.name) for node in model.graph if node.op_type in COSTLY_OPS]
    return {one.block: one for one in audit(blocks, assignment, kernels, heavy)}


@pytest.mark.parametrize("target", ["8.6", "8.9", "12.0"])
@pytest.mark.parametrize("conv", ["fp32", "fp16", "bf16", "int8"])
@pytest.mark.parametrize("mlp", ["fp16", "int8"])
def test_neighbours_run_in_their_own_precisions(tmp_path: Path, target: str, conv: str, mlp: str) -> None:
    audits = audited(tmp_path, target, {"conv": conv, "mlp": mlp})
    assert {name: block.matches for name, block in audits.items()} == {"conv": True, "mlp": True}, audits


@pytest.mark.parametrize("target", ["8.9", "12.0"])
def test_fp8_stands_beside_int8(tmp_path: Path, target: str) -> None:
    audits = audited(tmp_path, target, {"conv": "int8", "mlp": "fp8"})
    assert (audits["conv"].ran, audits["mlp"].ran) == ("i8 x3", "f8 x2")


@pytest.mark.parametrize(("precision", "ran"), [("int4", "i4 x2"), ("int8-weights", "i8w x2")])
def test_weights_alone_are_read_inside_the_product(tmp_path: Path, precision: str, ran: str) -> None:
    assert audited(tmp_path, "8.9", {"conv": "fp16", "mlp": precision})["mlp"].ran == ran


@pytest.mark.parametrize("neighbour", ["fp16", "int8", "fp8"])
def test_nvfp4_multiplies_four_bit_floats_beside_others(tmp_path: Path, neighbour: str) -> None:
    audits = audited(tmp_path, "12.0", {"conv": neighbour, "mlp": "nvfp4"})
    assert (audits["mlp"].ran, audits["mlp"].matches, audits["conv"].matches) == ("f4 x2", True, True)


def test_pointwise_convolutions_run_as_nvfp4_products_and_a_depthwise_one_in_floats(tmp_path: Path) -> None:
    audits = audited(tmp_path, "12.0", {"conv": "nvfp4", "mlp": "fp16"})
    base = "f16" if MASK else "bf16"
    assert (audits["conv"].ran, audits["conv"].matches) == (f"f4 x2, {base} x1", True)


@pytest.mark.parametrize("target", ["8.6", "8.9"])
def test_nvfp4_for_a_gpu_without_it_is_a_failed_build(tmp_path: Path, target: str) -> None:
    with pytest.raises(TrialError, match="fp4_e2m1") as caught:
        audited(tmp_path, target, {"conv": "fp16", "mlp": "nvfp4"})
    assert caught.value.kind == "build"


def test_fp8_for_a_gpu_without_it_is_a_failed_build(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="fp8_e4m3") as caught:
        audited(tmp_path, "8.6", {"conv": "fp16", "mlp": "fp8"})
    assert caught.value.kind == "build"
