"""Models that compute in FP16 or BF16 inside are searched like others."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model, notes
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment

HALVES = {"FLOAT16": np.float16, "BFLOAT16": ml_dtypes.bfloat16}
TEXT = """<ir_version: 10, opset_import: ["" : 22]> g (float[1,4,8,8] image) => (float[1,4,8,8] masks) {
    x = Cast <to = %(kind)d> (image)
    %(middle)s
    c = Conv (r, w)
    masks = Cast <to = 1> (c)
}"""
PLAIN_MIDDLE = "a = Conv (x, w)  r = Relu (a)"
PAIR_MIDDLE = """v = DequantizeLinear <axis = 0> (stored, scales, zeros)  a = Conv (x, v)
    q = QuantizeLinear (a, scale, zero)  r = DequantizeLinear (q, scale, zero)"""


def saved(folder: Path, kind: str, middle: str) -> Path:
    random, half = np.random.default_rng(0), HALVES[kind]
    proto = onnx.parser.parse_model(TEXT % {"kind": TensorProto.DataType.Value(kind), "middle": middle})
    arrays = {
        "w": random.standard_normal((4, 4, 1, 1)).astype(half),
        "stored": random.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8),
        "scales": np.full(4, 0.01).astype(half),
        "zeros": np.zeros(4, np.int8),
        "scale": np.asarray(0.02).astype(half),
        "zero": np.asarray(0, np.int8),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items())
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


def candidate(path: Path, precision: str) -> onnx.ModelProto:
    model = load_model(path)
    blocks = partition(model, minimum=1, maximum=1)
    names = {str(v.name): 4.0 for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    chosen = Assignment(choices=tuple((block.name, precision) for block in blocks))
    written = Rewriter(model, blocks, names, base="fp32").write(chosen, path.with_name(f"{precision}.onnx"))
    return onnx.load(written.model_path)


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("middle", [PLAIN_MIDDLE, PAIR_MIDDLE], ids=["floats", "pairs"])
def test_all_fp32_computes_what_the_file_does(kind: str, middle: str, tmp_path: Path) -> None:
    path = saved(tmp_path, kind, middle)
    feed = {"image": np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)}
    wanted, model = (
        ReferenceEvaluator(m).run(None, feed)[0] for m in (onnx.load(path), candidate(path, "fp32"))
    )
    assert np.sqrt(np.mean((model - wanted) ** 2)) < 0.02 * wanted.std()
    assert kind in notes(load_model(path))[0]


@pytest.mark.parametrize("kind", HALVES)
def test_each_precision_writes_another_file(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path, kind, PLAIN_MIDDLE)
    stored = {
        p: {t.data_type for t in candidate(path, p).graph.initializer} for p in ("fp32", "fp16", "bf16")
    }
    assert len({frozenset(types) for types in stored.values()}) == 3


def test_scales_in_fp16_stay_what_they_are(tmp_path: Path) -> None:
    again = candidate(saved(tmp_path, "FLOAT16", PAIR_MIDDLE), "int8").graph
    scales = {float(numpy_helper.to_array(t).max()) for t in again.initializer if t.name.endswith("/scale")}
    assert scales >= {float(np.float16(0.02)), float(np.float16(0.01))}


def test_an_input_in_fp16_keeps_its_type(tmp_path: Path) -> None:
    path = saved(tmp_path, "FLOAT16", PLAIN_MIDDLE)
    proto = onnx.load(path)
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT16, [1, 4, 8, 8]))
    proto.graph.node[1].input[0] = "sum"
    proto.graph.node.insert(1, helper.make_node("Add", ["x", "more"], ["sum"]))
    onnx.save(proto, path)
    kinds = {value.name: value.type.tensor_type.elem_type for value in candidate(path, "bf16").graph.input}
    assert kinds == {"image": TensorProto.FLOAT, "more": TensorProto.FLOAT16}
