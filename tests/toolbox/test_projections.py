"""Fused projections written apart: the same numbers, only where it pays, and audited as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from autoprec.backends import create_backend
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.calibration import measure_moments
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.fused import projection
from autoprec.graph.rewrite.projections import origin, split_projections
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.measurement.audit import audit, deciding_nodes
from autoprec.records import Block, KernelTime
from autoprec.spec import load_spec
from autoprec.study.preparation import prepare
from mbconv import calibrated, images, uniform
from tiny_study import write_study

PRODUCT = "qkv = MatMul(n, w)"
BIASED = "wide = MatMul(n, w) qkv = Add(b, wide)"
GEMM = "nr = Reshape(n, rows) wide = Gemm<transB = 1, alpha = 0.5>(nr, wt, b) qkv = Relu(wide)"
HEADS = "five = Reshape(qkv, heads) moved = Transpose<perm = [2,0,3,1,4]>(five)"
GATHERS = "q = Gather<axis = 0>(moved, i0) k = Gather<axis = 0>(moved, i1) v = Gather(moved, last)"
SQUEEZES = "q = Squeeze(qs, z) k = Squeeze(ks, z) v = Squeeze(vs, z)"
LAST = "q = Slice(qkv, z, p16, two) k = Slice(qkv, p16, n16, two) v = Slice(qkv, n16, end, two, one)"
FORMS = {
    "split": f"{PRODUCT} q, k, v = Split<axis = 2, num_outputs = 3>(qkv)",
    "biased split": f"{BIASED} q, k, v = Split<axis = -1>(qkv, uneven)",
    "a bias of one number": "wide = MatMul(n, w) qkv = Add(wide, scale)"
    " q, k, v = Split<axis = -1>(qkv, uneven)",
    "heads, gathers": f"{PRODUCT} {HEADS} {GATHERS}",
    "biased heads, gathers": f"{BIASED} {HEADS} {GATHERS}",
    "biased heads, split": f"{BIASED} {HEADS} qs, ks, vs = Split<num_outputs = 3>(moved) {SQUEEZES}",
    "heads, slices": f"{PRODUCT} {HEADS} qs = Slice(moved, z, one) ks = Slice(moved, one, two)"
    f" vs = Slice(moved, two, end) {SQUEEZES}",
    "slices": f"{BIASED} {LAST}",
    "not turned": f"{PRODUCT} five = Reshape(qkv, heads) q = Gather<axis = 2>(five, i0)"
    " k = Gather<axis = 2>(five, i1) v = Gather<axis = -3>(five, last)",
    "one is not read": f"{PRODUCT} q, k, none, v = Split<axis = 2, num_outputs = 4>(qkv)",
    "gemm": "nr = Reshape(n, rows) qkv = Gemm<transB = 1, alpha = 0.5>(nr, wt, b)"
    " q, k, v = Split<axis = 1, num_outputs = 3>(qkv)",
}
WHOLE = {
    "merged into the batch": f"{BIASED} {HEADS} m = Reshape(moved, merged) q = Slice(m, z, one)"
    " k = Slice(m, one, two) v = Slice(m, two, end)",
    "turned alone": f"{PRODUCT} t = Transpose<perm = [0,2,1]>(qkv)"
    " q, k, v = Split<axis = 1, num_outputs = 3>(t)",
    "parts overlap": f"{PRODUCT} q = Slice(qkv, z, p16, two) k = Slice(qkv, one, p16, two)"
    " v = Slice(qkv, n16, end, two)",
    "read whole too": f"{PRODUCT} q, k, left = Split<axis = 2, num_outputs = 3>(qkv) v = Relu(qkv)",
    "parts along rows": f"{PRODUCT} q, k, v = Split<axis = 1, num_outputs = 3>(qkv)",
    "parts within heads": f"{PRODUCT} five = Reshape(qkv, inner) q = Gather<axis = 3>(five, i0)"
    " k = Gather<axis = 3>(five, i1) v = Gather<axis = 3>(five, last)",
    "every other column": f"{PRODUCT} q = Slice(qkv, z, end, two, two) k = Slice(qkv, one, end, two, two)"
    " v = Relu(n)",
    "a residual": "wide = MatMul(n, w) same = MatMul(n, w) qkv = Add(wide, same)"
    " q, k, v = Split<axis = 2, num_outputs = 3>(qkv)",
    "given pairs": "s8 = QuantizeLinear(n, scale, zero) s = DequantizeLinear(s8, scale, zero)"
    " qkv = MatMul(s, w) q, k, v = Split<axis = 2, num_outputs = 3>(qkv)",
    "parts of rows and columns": f"{PRODUCT} q = Slice(qkv, zz, half) k = Relu(n) v = Relu(n)",
    "gathered by lists": f"{PRODUCT} {HEADS} q = Gather<axis = 0>(moved, z) k = Gather<axis = 0>(moved, one)"
    " v = Gather<axis = 0>(moved, two)",
    "one part": f"{PRODUCT} q = Slice(qkv, z, p16, two) k = Relu(n) v = Relu(n)",
}
SIZES = {
    "flat": [1, 8, 144], "heads": [1, 144, 3, 4, 4], "inner": [1, 144, 4, 3, 4], "merged": [3, 4, 144, 4],
    "rows": [144, 8], "uneven": [16, 8, 24], "i0": 0, "i1": 1, "last": -1, "z": [0], "one": [1], "two": [2],
    "p16": [16], "n16": [-16], "end": [2**31],
    "zz": [0, 0, 0], "half": [1, 72, 24],
}  # fmt: skip


def write(path: Path, body: str) -> ir.Model:
    """A model that projects 144 rows of 8 channels to 48, and gives three parts of them."""
    text = (
        '<ir_version: 10, opset_import: ["": 20]> '
        "net (float[1,8,12,12] image) => (float masks, float k, float v) "
        f"{{ f = Reshape(image, flat) n = Transpose<perm = [0,2,1]>(f) {body} masks = Relu(q) }}"
    )
    proto, random = onnx.parser.parse_model(text), np.random.default_rng(0)
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    arrays = {
        name: random.standard_normal(shape) for name, shape in (("w", (8, 48)), ("b", 48), ("wt", (48, 8)))
    }
    constants: dict[str, np.ndarray] = {name: array.astype(np.float32) for name, array in arrays.items()}
    constants |= {name: np.array(sizes, np.int64) for name, sizes in SIZES.items()}
    constants |= {"scale": np.array(0.1, np.float32), "zero": np.array(0, np.int8)}
    read = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items() if n in read)
    onnx.save(proto, path)
    return load_model(path)


def rewriters(model: ir.Model, folder: Path) -> tuple[tuple[Block, ...], Rewriter, Rewriter]:
    """The model's one block; a rewriter that leaves projections whole, and one that does not."""
    blocks, openvino = partition(model, minimum=1, maximum=1), create_backend("openvino", {})
    moments = measure_moments(model, openvino, images(3), folder / "instrumented.onnx")
    histograms = calibrated(model, images(3), folder)
    box = Toolbox(model, blocks, histograms, method="percentile", percentile=99.99, moments=moments)
    whole, split = (Rewriter(model, blocks, box, base="fp32", splits_projections=s) for s in (False, True))
    return blocks, whole, split


@pytest.mark.parametrize("form", FORMS)
def test_parts_compute_what_the_whole_did(tmp_path: Path, form: str) -> None:
    model = write(tmp_path / "model.onnx", FORMS[form])
    split, feeds = model.clone(), images(1)
    origins = split_projections(split, {str(node.name) for node in model.graph})
    ends = [node for node in split.graph if node.op_type in ("MatMul", "Gemm")]
    assert len(ends) == 3
    assert set(origins.values()) <= {str(node.name) for node in model.graph}
    assert {"q", "k", "v"} <= {str(value.name) for node in split.graph for value in node.outputs}
    for actual, wanted in zip(all_outputs(split, feeds), all_outputs(model, feeds), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", WHOLE)
def test_what_is_no_fused_projection_stays_whole(tmp_path: Path, form: str) -> None:
    model = write(tmp_path / "model.onnx", WHOLE[form])
    assert not any(map(projection, model.graph))


@pytest.mark.parametrize("precision", ["int8", "fp8", "int8+smooth+adaround+bias"])
@pytest.mark.parametrize("form", ["split", "biased heads, gathers"])
def test_quantised_parts_lose_what_the_whole_did(tmp_path: Path, form: str, precision: str) -> None:
    model = write(tmp_path / "model.onnx", FORMS[form])
    blocks, whole, split = rewriters(model, tmp_path)
    one, three = (r.rewrite(uniform(blocks, precision)) for r in (whole, split))
    assert [sum(node.op_type == "MatMul" for node in written.graph) for written in (one, three)] == [1, 3]
    behind = [
        node.inputs[1].producer() for node in three.graph if node.op_type == "MatMul" and node.inputs[1]
    ]
    assert {maker.op_type for maker in behind if maker is not None} == {"DequantizeLinear"}
    assert not {name for name in three.graph.initializers if name.startswith("w/int8")}
    for actual, wanted in zip(all_outputs(three, images(1)), all_outputs(one, images(1)), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int4", "int8-weights"])
def test_a_product_whose_activations_are_floats_stays_whole(tmp_path: Path, precision: str) -> None:
    blocks, _, split = rewriters(write(tmp_path / "model.onnx", FORMS["split"]), tmp_path)
    written = split.rewrite(uniform(blocks, precision))
    assert sum(node.op_type == "MatMul" for node in written.graph) == 1


def test_a_product_without_a_range_stays_whole(tmp_path: Path) -> None:
    model = write(tmp_path / "model.onnx", FORMS["split"])
    blocks = partition(model, minimum=1, maximum=1)
    written = Rewriter(model, blocks, {}, base="fp32", splits_projections=True).rewrite(
        uniform(blocks, "int8")
    )
    assert sum(node.op_type == "MatMul" for node in written.graph) == 1


def test_kernels_of_parts_count_for_the_block_of_the_whole(tmp_path: Path) -> None:
    model = write(tmp_path / "model.onnx", FORMS["biased heads, gathers"])
    blocks, _, split = rewriters(model, tmp_path)
    assignment = uniform(blocks, "int8")
    written = split.rewrite(assignment)
    kernels = [
        KernelTime(nodes=(str(node.name),), kernel="gemm", precision="i8", time_ms=1.0)
        for node in written.graph
        if node.op_type in ("MatMul", "Add")
    ]
    (layer,) = audit(blocks, assignment, kernels, deciding_nodes(model, blocks, assignment))
    assert (layer.ran, layer.matches, layer.time_ms) == ("i8 x3", True, 6.0)


@pytest.mark.parametrize(("dequantises", "products"), [(False, 1), (True, 3)])
def test_a_study_asks_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dequantises: bool, products: int
) -> None:
    definition = write_study(tmp_path)
    write(tmp_path / "tiny.onnx", FORMS["split"])
    for file in tmp_path.glob("*/*.npz"):
        np.savez(file, image=images(1)[0]["image"])
    monkeypatch.setattr(OpenVinoBackend, "splits_projections", dequantises)
    prepared = prepare(load_spec(definition))
    candidate = prepared.rewrite(prepared.uniform("int8"), tmp_path / "candidate.onnx")
    written = onnx.load(candidate.model_path)
    assert sum(node.op_type == "MatMul" for node in written.graph.node) == products


def test_names_stay_unique(tmp_path: Path) -> None:
    model = write(tmp_path / "model.onnx", FORMS["split"])
    first = next(iter(model.graph))
    first.name = first.outputs[0].name = "MatMul/qkv/part1"
    assert split_projections(model, {"MatMul/qkv"}).keys() == {
        "MatMul/qkv", "MatMul/qkv/part1_", "MatMul/qkv/part2"
    }  # fmt: skip


def test_a_node_that_is_named_like_a_part_is_itself() -> None:
    assert [origin(name, {"a", "b/part1"}) for name in ("a/part2", "b/part1", "a/part1_")] == [
        "a",
        "b/part1",
        "a",
    ]


def all_outputs(model: ir.Model, feeds: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """All outputs for the first feed, by ONNX's own evaluator."""
    output = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds[0])
    return list(output)
