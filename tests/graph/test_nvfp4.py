"""NVFP4: what is stored and where, and what it computes, by NumPy and by ONNX's own evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from autoprec.errors import ModelError
from autoprec.graph.grids.given import given_precisions
from autoprec.graph.grids.levels import DOMAIN, QUANTIZER
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment, Block

Floats = NDArray[np.float32]

MODEL = """
<ir_version: 10, opset_import: ["": 20]>
net (float[1,32,4,4] image) => (float[1,4,4,32] embedding) {
    [pointwise] a = Conv(image, w_conv, b_conv)
    [odd] b = Conv(a, w_odd)
    [even] c = Conv(b, w_even)
    [turn] d = Transpose<perm = [0,2,3,1]>(c)
    [images] e = MatMul(d, w_images)
    [flat] f = Reshape(e, sizes)
    [rows] g = Gemm<transB = 1>(f, w_rows, b_rows)
    [back] h = Reshape(g, whole)
    [skip] embedding = Add(d, h)
}
"""
WEIGHTS = {
    "w_conv": (32, 32, 1, 1), "b_conv": (32,), "w_odd": (24, 32, 1, 1), "w_even": (32, 24, 1, 1),
    "w_images": (32, 64), "w_rows": (32, 64), "b_rows": (32,),
}  # fmt: skip
GRID = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
LIMIT = 6.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    random, model = np.random.default_rng(0), onnx.parser.parse_model(MODEL)
    arrays: dict[str, Any] = {
        name: (random.standard_normal(shape) / 6).astype(np.float32) for name, shape in WEIGHTS.items()
    }
    arrays |= {"sizes": np.array([16, 64]), "whole": np.array([1, 4, 4, 32])}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def rewritten(path: Path, precision: str = "nvfp4", base: str = "fp16") -> onnx.ModelProto:
    model = load_model(path)
    block = Block(name="all", nodes=tuple(str(node.name) for node in model.graph))
    ranges = {str(v.name): LIMIT for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    rewriter = Rewriter(model, (block,), ranges, base=base)
    assignment = Assignment(choices=(("all", precision),))
    return onnx.load(rewriter.write(assignment, path.with_name(f"{precision}.onnx")).model_path)


def nearest(values: Floats) -> Floats:
    """On the grid of E2M1: to the nearest, of two as near ones to that with an even code."""
    distances = np.abs(np.abs(values)[..., None] - GRID)
    near = distances == distances.min(axis=-1, keepdims=True)
    codes = np.where(near, np.where(np.arange(8) % 2 == 0, 0, 1), 2).argmin(axis=-1)
    return np.asarray(np.copysign(GRID[codes], values), np.float32)


def in_blocks(values: Floats, whole: float) -> tuple[Floats, Floats]:
    """What is stored, and the scales of blocks of 16 in the last axis."""
    blocks = values.reshape(*values.shape[:-1], -1, 16)
    scales = (np.abs(blocks).max(axis=-1) / 6 / whole).clip(2.0**-9, 448)
    fine = scales.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    return nearest((blocks / (fine * whole)[..., None]).clip(-6, 6)).reshape(values.shape), fine


class DynamicQuantize(OpRun):  # type: ignore[misc]
    """TensorRT's operator, as its documentation describes it."""

    op_domain, __qualname__ = DOMAIN, QUANTIZER

    def _run(self, x: Any, scale: Any, axis: Any = 0, block_size: Any = 0, scale_type: Any = 0) -> Any:
        assert (x.ndim in (2, 3), axis, block_size) == (True, x.ndim - 1, 16)
        assert scale_type == TensorProto.FLOAT8E4M3FN
        stored, fine = in_blocks(x.astype(np.float32), float(scale))
        return stored.astype(ml_dtypes.float4_e2m1fn), fine.astype(ml_dtypes.float8_e4m3fn)


DynamicQuantize.__name__ = QUANTIZER


def computed(model: onnx.ModelProto) -> Floats:
    feeds = {"image": np.random.default_rng(1).standard_normal((1, 32, 4, 4)).astype(np.float32)}
    (output,) = ReferenceEvaluator(model, new_ops=[DynamicQuantize]).run(None, feeds)
    return np.asarray(output, np.float32)


def weights(model: onnx.ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize(("name", "axis"), [("w_images", 0), ("w_rows", 1), ("w_conv/matrix", 0)])
def test_weights_are_those_of_the_reference_to_the_bit(path: Path, name: str, axis: int) -> None:
    stored, floats = weights(rewritten(path)), weights(onnx.load(path))
    source = floats[name.partition("/")[0]]
    source = source.reshape(source.shape[:2])
    rows = source.T if name == "w_images" else source  # inner length last
    whole = np.abs(rows).max() / np.float32(6 * 448)
    grid, fine = in_blocks(rows, whole)
    label = f"{name}/float4e2m1/axis{1 - axis}"
    assert stored[f"{label}/whole"] == pytest.approx(whole)
    for actual, wanted in ((stored[f"{label}/scale"], fine), (stored[label], grid)):
        np.testing.assert_array_equal(actual.astype(np.float32), wanted.T if axis == 0 else wanted)


def test_dequantised_weights_are_as_near_as_the_format_has_it(path: Path) -> None:
    stored, source = weights(rewritten(path)), weights(onnx.load(path))["w_rows"]
    label = "w_rows/float4e2m1/axis0"
    scales = np.repeat(stored[f"{label}/scale"].astype(np.float32) * stored[f"{label}/whole"], 16, axis=1)
    error = np.abs(stored[label].astype(np.float32) * scales - source)
    # Half of the widest step, 2; the largest of a block may also be cut by what FP8 rounds its scale, 1/16.
    assert (error <= scales * 1.0001).all()
    assert 0.05 < np.linalg.norm(error) / np.linalg.norm(source) < 0.12


def test_the_scale_of_an_activation_comes_from_calibration_and_those_of_blocks_do_not(path: Path) -> None:
    model = rewritten(path)
    stored = weights(model)
    quantizers = [node for node in model.graph.node if node.op_type == QUANTIZER]
    assert len(quantizers) == 4
    assert {node.domain for node in quantizers} == {DOMAIN}
    for node in quantizers:
        assert stored[node.input[1]].dtype == np.float32
        assert stored[node.input[1]] == pytest.approx(LIMIT / (6 * 448))
        assert node.output[1] not in stored


def test_a_candidate_is_valid_and_its_shapes_go_on_behind_the_quantiser(path: Path) -> None:
    model = rewritten(path)
    onnx.checker.check_model(model, full_check=True)
    imports = {entry.domain: entry.version for entry in model.opset_import}
    assert (imports, model.ir_version) == ({"": 23, DOMAIN: 1}, 11)
    types = {value.name: value.type.tensor_type for value in model.graph.value_info}
    for node in model.graph.node:
        if node.op_type == QUANTIZER:
            kinds = [types[name].elem_type for name in node.output]
            sizes = [types[name].shape.dim[-1].dim_value for name in node.output]
            assert kinds == [TensorProto.FLOAT4E2M1, TensorProto.FLOAT8E4M3FN]
            assert sizes[0] == 16 * sizes[1]


@pytest.mark.parametrize("base", ["fp32", "fp16"])
def test_what_it_computes_is_near_the_float_model(path: Path, base: str) -> None:
    wanted = computed(rewritten(path, "fp32"))
    error = np.linalg.norm(computed(rewritten(path, base=base)) - wanted) / np.linalg.norm(wanted)
    assert 0.01 < error < 0.25


def test_products_whose_inner_length_does_not_divide_stay_in_floats(path: Path) -> None:
    nodes = {node.name: node for node in rewritten(path).graph.node}
    assert [nodes[name].op_type for name in ("pointwise", "odd", "even")] == ["MatMul", "MatMul", "Conv"]
    assert nodes["even"].input[1] == "w_even/float16"


def test_a_model_without_nvfp4_keeps_its_opset(path: Path) -> None:
    model = rewritten(path, "int8")
    assert ({entry.domain for entry in model.opset_import}, model.opset_import[0].version) == ({""}, 22)


def test_a_weight_takes_four_and_a_half_bits(path: Path) -> None:
    sizes = {tensor.name: len(tensor.raw_data) for tensor in rewritten(path).graph.initializer}
    label = "w_images/float4e2m1/axis1"
    assert (sizes[label] + sizes[f"{label}/scale"]) * 8 == 4.5 * 32 * 64


def test_a_model_that_comes_in_nvfp4_keeps_its_scales_or_gives_them_up(path: Path) -> None:
    came = rewritten(path, base="fp32")
    bare = onnx.ModelProto.FromString(came.SerializeToString())
    bare.graph.ClearField(
        "value_info"
    )  # ModelOpt writes none, and ONNX does not know what its quantiser makes
    onnx.save(bare, path)
    model = load_model(path)
    assert QUANTIZER not in {node.op_type for node in model.graph}
    assert given_precisions(model.graph) == {"nvfp4"}
    kept, floats = rewritten(path, base="fp32"), rewritten(path, "fp32")
    np.testing.assert_array_equal(computed(kept), computed(came))
    assert {node.op_type for node in floats.graph.node}.isdisjoint({QUANTIZER, "DequantizeLinear"})
    error = np.linalg.norm(computed(floats) - computed(came)) / np.linalg.norm(computed(came))
    assert 0.01 < error < 0.25


@pytest.mark.parametrize(
    ("change", "reason"), [({"axis": 0}, "along the last axis, not 0"), ({"block_size": 0}, "not for blocks")]
)
def test_other_forms_of_blocks_are_refused_by_name(path: Path, change: dict[str, int], reason: str) -> None:
    came = rewritten(path, base="fp32")
    quantised = {node.output[0] for node in came.graph.node if node.op_type == QUANTIZER}
    node = next(node for node in came.graph.node if node.input[0] in quantised)
    for attribute in node.attribute:
        attribute.i = change.get(attribute.name, attribute.i)
    onnx.save(came, path)
    with pytest.raises(ModelError, match=reason):
        load_model(path)


def test_blocks_that_no_quantiser_makes_are_refused_by_name(path: Path) -> None:
    came = rewritten(path, base="fp32")
    place, quantiser = next((p, node) for p, node in enumerate(came.graph.node) if node.op_type == QUANTIZER)
    stored = quantiser.output[0]
    axis = next(attribute.i for attribute in quantiser.attribute if attribute.name == "axis")
    quantiser.output[0] = "elsewhere"
    moved = onnx.helper.make_node("Transpose", ["elsewhere"], [stored], perm=range(axis + 1))
    came.graph.node.insert(place + 1, moved)
    onnx.save(came, path)
    with pytest.raises(ModelError, match=f"that no {QUANTIZER} makes"):
        load_model(path)


def test_what_flags_cannot_say_of_it_is_a_limit(path: Path) -> None:
    model = load_model(path)
    block = Block(name="all", nodes=tuple(str(node.name) for node in model.graph))
    ranges = {str(v.name): LIMIT for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    export = Rewriter(model, (block,), ranges, base="bf16").implicit(
        Assignment(choices=(("all", "nvfp4"),)), path.with_name("implicit.onnx")
    )
    assert "Flags cannot ask for nvfp4: those blocks are set to FP16 here." in export.limits
    assert {word for _, word in export.layers} == {"fp16"}


@pytest.mark.parametrize("scale", [0.0, 1e-36, 1e30])
def test_extreme_weights_stay_finite_and_scales_above_zero(path: Path, scale: float) -> None:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "w_rows":
            array = numpy_helper.to_array(tensor) * np.float32(scale)
            tensor.CopyFrom(numpy_helper.from_array(array, "w_rows"))
    onnx.save(model, path)
    stored = weights(rewritten(path))
    scales = stored["w_rows/float4e2m1/axis0/scale"].astype(np.float32)
    assert np.isfinite(scales).all()
    assert scales.min() > 0
    assert stored["w_rows/float4e2m1/axis0/whole"] > 0
