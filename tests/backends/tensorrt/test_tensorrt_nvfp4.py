"""NVFP4 in TensorRT-RTX's builder: a transformer's products, and ModelOpt's, multiply 4-bit floats."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends.tensorrt import TensorRTBackend
from autoprec.errors import TrialError
from autoprec.graph.legality import judge
from autoprec.graph.load import load_model
from autoprec.graph.partition import partition
from autoprec.graph.rewrite import Rewriter
from autoprec.measurement.audit import audit, deciding_nodes
from autoprec.records import Assignment, BlockAudit

pytest.importorskip(
    "tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'autoprec[tensorrt-rtx]'"
)

TRANSFORMER = """
<ir_version: 10, opset_import: ["": 20]>
vit (float[1,8,8,64] windows) => (float[1,64,64] tokens) {
    patches = MatMul(windows, w_patch)
    x = Reshape(patches, flat)
    n = LayerNormalization(x, scale, bias)
    PROJECTIONS
    q4 = Reshape(q, heads)
    k4 = Reshape(k, heads)
    v4 = Reshape(v, heads)
    qt = Transpose<perm = [0,2,1,3]>(q4)
    kt = Transpose<perm = [0,2,3,1]>(k4)
    vt = Transpose<perm = [0,2,1,3]>(v4)
    scores = MatMul(qt, kt)
    weights = Softmax(scores)
    mixed = MatMul(weights, vt)
    rows = Transpose<perm = [0,2,1,3]>(mixed)
    joined = Reshape(rows, flat)
    projected = MatMul(joined, w_out)
    y = Add(x, projected)
    m = LayerNormalization(y, scale, bias)
    h = MatMul(m, w_fc1)
    g = Gelu(h)
    o = MatMul(g, w_fc2)
    tokens = Add(y, o)
}
"""
APART = "q = MatMul(n, w_q) k = MatMul(n, w_k) v = MatMul(n, w_v)"
FUSED = "qkv = MatMul(n, w_qkv) q, k, v = Split<axis = 2, num_outputs = 3>(qkv)"
WEIGHTS = {
    "w_patch": (64, 64), "scale": (64,), "bias": (64,), "w_q": (64, 64), "w_k": (64, 64), "w_v": (64, 64),
    "w_qkv": (64, 192), "w_out": (64, 64), "w_fc1": (64, 256), "w_fc2": (256, 64),
}  # fmt: skip
SIZES = {"flat": [1, 64, 64], "heads": [1, 64, 4, 16]}


def transformer(path: Path, projections: str = APART) -> Path:
    proto = onnx.parser.parse_model(TRANSFORMER.replace("PROJECTIONS", projections))
    random, read = np.random.default_rng(0), {name for node in proto.graph.node for name in node.input}
    arrays = {name: random.standard_normal(shape).astype(np.float32) for name, shape in WEIGHTS.items()}
    constants = {**arrays, **{name: np.array(lengths) for name, lengths in SIZES.items()}}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items() if n in read)
    onnx.save(proto, path)
    return path


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


def built(path: Path, target: str, precision: str = "nvfp4", splits: bool | None = None) -> BlockAudit:
    """What a model of one block ran in; projections are split as the backend says, or as `splits` does."""
    backend, model = TensorRTBackend({"compute_capabilities": target}), load_model(path)
    blocks = judge(partition(model, minimum=1, maximum=1), model, ("fp16", precision))
    ranges = {str(v.name): 4.0 for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    assignment = Assignment(choices=tuple((block.name, precision) for block in blocks))
    splits = backend.splits_projections if splits is None else splits
    rewriter = Rewriter(model, blocks, ranges, base=backend.base_precision, splits_projections=splits)
    candidate = rewriter.write(assignment, path)
    kernels = backend.plan_kernels(Path(candidate.model_path))
    (found,) = audit(blocks, assignment, kernels, deciding_nodes(model, blocks, assignment))
    return found


@pytest.mark.parametrize("target", ["12.0", "12.1"])
def test_every_product_of_a_transformer_with_weights_multiplies_four_bit_floats(
    tmp_path: Path, target: str
) -> None:
    found = built(transformer(tmp_path / "vit.onnx"), target)
    assert (found.ran, found.matches, found.detail) == ("f4 x7", True, "gemm x7")


def test_a_fused_projection_that_the_builder_dequantises_is_seen(tmp_path: Path) -> None:
    path = transformer(tmp_path / "vit.onnx", FUSED)
    assert built(path, "12.0", splits=False).ran == "f4 x4, bf16 x1"


@pytest.mark.parametrize("target", ["8.0", "8.6", "8.9"])
def test_a_gpu_without_it_is_told_in_one_line(tmp_path: Path, target: str) -> None:
    wanted = rf"^Cannot compile for target\(s\) sm{target.replace('.', '')}.*fp4_e2m1.*$"
    with pytest.raises(TrialError, match=wanted):
        built(transformer(tmp_path / "vit.onnx"), target)


@pytest.mark.parametrize(("precision", "ran"), [("nvfp4", "f4 x1"), ("fp16", "f16 x1")])
def test_a_layer_of_modelopt_runs_as_it_came_or_in_floats(tmp_path: Path, precision: str, ran: str) -> None:
    found = built(modelopt(tmp_path / "linear.onnx"), "12.0", precision)
    assert (found.ran, found.matches) == (ran, True)
