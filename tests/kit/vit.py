"""A small transformer, and what TensorRT-RTX's builder makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.legality.judge import judge
from autoprec.measurement.audit import audit, deciding_nodes
from autoprec.records import Assignment, BlockAudit
from tensorrt_here import planned_kernels, tensorrt_backend

TRANSFORMER = """
<ir_version: 10, opset_import: ["": 20]>
vit (float[1,8,8,64] windows) => (float[1,64,64] tokens) {
    patches = MatMul(windows, w_patch)
    x = Reshape(patches, flat)
    n = LayerNormalization(x, scale, bias)
    PROJECTIONS
    HEADS
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
HEADS = """
    q4 = Reshape(q, heads)
    k4 = Reshape(k, heads)
    v4 = Reshape(v, heads)
    qt = Transpose<perm = [0,2,1,3]>(q4)
    kt = Transpose<perm = [0,2,3,1]>(k4)
    vt = Transpose<perm = [0,2,1,3]>(v4)
"""
WEIGHTS = {
    "w_patch": (64, 64), "scale": (64,), "bias": (64,), "w_q": (64, 64), "w_k": (64, 64), "w_v": (64, 64),
    "w_qkv": (64, 192), "b_qkv": (192,), "w_gemm": (192, 64), "w_out": (64, 64),
    "w_fc1": (64, 256), "w_fc2": (256, 64),
}  # fmt: skip
SIZES = {
    "flat": [1, 64, 64], "heads": [1, 64, 4, 16], "tall": [64, 64], "five": [1, 64, 3, 4, 16],
    "merged": [3, 4, 64, 16], "i0": 0, "i1": 1, "i2": 2, "c0": [0], "c1": [1], "c2": [2], "c3": [3],
    "c64": [64], "c128": [128], "c192": [192],
}  # fmt: skip


def transformer(path: Path, projections: str = APART, heads: str = HEADS) -> Path:
    """A transformer of one block; `projections` make q, k and v, and `heads` of these qt, kt and vt."""
    proto = onnx.parser.parse_model(TRANSFORMER.replace("PROJECTIONS", projections).replace("HEADS", heads))
    random, read = np.random.default_rng(0), {name for node in proto.graph.node for name in node.input}
    arrays = {name: random.standard_normal(shape).astype(np.float32) for name, shape in WEIGHTS.items()}
    constants = {**arrays, **{name: np.array(lengths) for name, lengths in SIZES.items()}}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items() if n in read)
    onnx.save(proto, path)
    return path


def built(path: Path, target: str, precision: str = "nvfp4", splits: bool | None = None) -> BlockAudit:
    """What a model of one block ran in; projections are split as the backend says, or as `splits` does."""
    backend, model = tensorrt_backend(target), load_model(path)
    blocks = judge(partition(model, minimum=1, maximum=1), model, ("fp16", precision))
    ranges = {str(v.name): 4.0 for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    assignment = Assignment(choices=tuple((block.name, precision) for block in blocks))
    splits = backend.splits_projections if splits is None else splits
    rewriter = Rewriter(model, blocks, ranges, base=backend.base_precision, splits_projections=splits)
    candidate = rewriter.write(assignment, path)
    kernels = planned_kernels(backend, Path(candidate.model_path))
    (layer,) = audit(blocks, assignment, kernels, deciding_nodes(model, blocks, assignment))
    return layer
