"""A model that comes quantised keeps its scales, or gives them up whole."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime import InferenceSession
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from autoprec import Study
from autoprec.calibration import quantizable
from autoprec.errors import ModelError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.grids.given import given_precisions
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.legality.judge import judge
from autoprec.records import Assignment, Block
from mbconv import Array, error, images, outputs, uniform, write_mbconv
from tiny_study import write_model, write_study

FORMS = {
    "tensorrt": {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8, "per_channel": True,
                 "extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True}},
    "onnxruntime": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8},
    "pairs on weights": {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8,
                         "extra_options": {"AddQDQPairToWeight": True}},
    "only convolutions": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8,
                          "op_types_to_quantize": ["Conv"]},
}  # fmt: skip


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: list[dict[str, Array]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def quantised(source: Path, target: Path, form: str, feeds: list[dict[str, Array]]) -> Path:
    logging.disable(logging.WARNING)  # it advises a pre-processing that only shapes need
    try:
        quantize_static(source, target, Reader(feeds), quant_format=QuantFormat.QDQ, **FORMS[form])
    finally:
        logging.disable(logging.NOTSET)
    return target


def loaded(folder: Path, form: str) -> tuple[ir.Model, tuple[Block, ...], Path]:
    path = quantised(write_mbconv(folder / "float.onnx"), folder / "model.onnx", form, images(4))
    model = load_model(path)
    return model, partition(model, minimum=1, maximum=1), path


@pytest.mark.parametrize("form", FORMS)
def test_all_int8_computes_what_the_incoming_model_does(tmp_path: Path, form: str) -> None:
    model, blocks, path = loaded(tmp_path, form)
    again = Rewriter(model, blocks, {}, base="fp32").rewrite(uniform(blocks, "int8"))
    wanted = outputs(ir.load(path), images(2, seed=5))
    assert error(outputs(again, images(2, seed=5)), wanted) < 1e-4


def test_all_fp32_is_the_float_model_with_what_its_integers_stand_for(tmp_path: Path) -> None:
    model, blocks, path = loaded(tmp_path, "tensorrt")  # whose grids reach beyond what these images hold
    plain = Rewriter(model, blocks, {}, base="fp32").rewrite(uniform(blocks, "fp32"))
    assert not {node.op_type for node in plain.graph} & {"QuantizeLinear", "DequantizeLinear"}
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    source = onnx.load(tmp_path / "float.onnx")
    for tensor in source.graph.initializer:
        scale = stored.get(f"{tensor.name}_scale", stored.get(f"{tensor.name}_quantized_scale"))
        zero = stored.get(f"{tensor.name}_zero_point", stored.get(f"{tensor.name}_quantized_zero_point"))
        shape = [-1] + [1] * (stored[f"{tensor.name}_quantized"].ndim - 1)
        whole = stored[f"{tensor.name}_quantized"].astype(np.float32) - np.asarray(zero).reshape(shape)
        floats = whole * np.asarray(scale).reshape(shape)
        tensor.CopyFrom(onnx.numpy_helper.from_array(floats.astype(np.float32), tensor.name))
    assert error(outputs(plain, images(2)), outputs(ir.from_proto(source), images(2))) < 1e-6
    assert [v.name for v in plain.graph.outputs] == ["masks"]


def test_nothing_is_calibrated_over_scales_that_came(tmp_path: Path) -> None:
    model, _, _ = loaded(tmp_path, "tensorrt")
    assert not quantizable(model)


def test_a_block_that_came_quantised_has_its_own_int8_and_no_variant(tmp_path: Path) -> None:
    model, blocks, _ = loaded(tmp_path, "tensorrt")
    (block,) = judge(blocks, model, ("fp32", "int8", "int8+smooth", "fp8"))
    assert block.allowed == ("fp32", "int8")
    assert dict(block.refused)["fp8"] == "comes quantised in int8"
    assert "keeps its scales" in dict(block.refused)["int8+smooth"]


def test_a_block_that_came_in_floats_stays_free(tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny.onnx")
    FORMS["two"] = {"nodes_to_quantize": ["/a/conv/Conv"]}
    feeds = [{"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}]
    model = load_model(quantised(source, tmp_path / "q.onnx", "two", feeds))
    del FORMS["two"]
    blocks = partition(model, minimum=1)
    nodes = {str(node.name): node for node in model.graph}
    came = {b.name for b in blocks if given_precisions(nodes[name] for name in b.nodes)}
    assert came == {"a"}
    assert "b.act" in quantizable(model)


OUTPUTS = """
<ir_version: 10, opset_import: ["" : 22]>
g (float[1,8,12,12] image) => (float[1,8,12,12] masks, float[1,8,12,12] rough, float[1,8,12,12] last) {
  masks = Conv (image, w)
  grid = QuantizeLinear (masks, scale, zero)
  rough = DequantizeLinear (grid, scale, zero)
  last = Conv (rough, w)
}
"""


def with_weights(proto: onnx.ModelProto) -> None:
    """Give a graph like the one above its constants."""
    weights = np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1)
    arrays = {"w": weights, "scale": np.array(0.25, np.float32), "zero": np.array(0, np.int8)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in arrays.items())


def test_a_pair_that_is_read_may_be_an_output_beside_its_float_value(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(OUTPUTS)
    with_weights(proto)
    onnx.save(proto, tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    blocks = partition(model, minimum=1, maximum=1)
    rewriter = Rewriter(model, blocks, {"image": 1.0}, base="fp32")
    rewriter.write(uniform(blocks, "int8"), tmp_path / "candidate.onnx")
    before, after = (
        InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"]).run(
            None, images(1)[0]
        )
        for name in ("model", "candidate")
    )
    for wanted, computed in zip(before, after, strict=True):
        np.testing.assert_array_equal(computed, wanted)


def test_an_output_behind_a_pair_may_be_read_in_floats(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(OUTPUTS.replace("float[1,8,12,12] masks, ", ""))
    with_weights(proto)
    onnx.save(proto, tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    first, second = partition(model, minimum=2)
    rewriter = Rewriter(model, (first, second), {"image": 1.0}, base="bf16")
    candidate = rewriter.rewrite(Assignment(choices=((first.name, "int8"), (second.name, "fp32"))))
    assert [value.name for value in candidate.graph.outputs] == ["rough", "last"]


def test_other_forms_of_quantisation_are_refused_by_name(tmp_path: Path) -> None:
    source = write_mbconv(tmp_path / "float.onnx")
    quantize_dynamic(source, tmp_path / "q.onnx")
    with pytest.raises(ModelError, match=r"DynamicQuantizeLinear.*QDQ"):
        load_model(tmp_path / "q.onnx")


@pytest.mark.slow
def test_a_search_over_a_quantised_model_takes_its_scales(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    feeds = [{"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}]
    (tmp_path / "tiny.onnx").rename(tmp_path / "float.onnx")
    quantised(tmp_path / "float.onnx", tmp_path / "tiny.onnx", "tensorrt", feeds)
    study = Study.load(path)
    study.search("4")
    trial = next(trial for trial in study.trials() if trial.label == "all-int8")
    study.export(tmp_path / "out", trial=trial.number)
    scales = {
        round(float(onnx.numpy_helper.to_array(tensor)), 9)
        for tensor in onnx.load(tmp_path / "tiny.onnx").graph.initializer
        if tensor.name == "image_scale"
    }
    exported = onnx.load(tmp_path / "out" / "model.onnx").graph.initializer
    kept = [onnx.numpy_helper.to_array(tensor) for tensor in exported]
    assert scales
    assert scales <= {round(float(a), 9) for a in kept if a.dtype == np.float32 and a.size == 1}
