"""Models as other tools quantise them: levels at the borders, clipped levels, scales that are computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, parser

from autoprec.backends import run
from autoprec.backends.exact import Exact, deviation
from autoprec.graph.blocks.partition import partition
from autoprec.graph.grids.given import given_precisions
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model
from autoprec.graph.model.outputs import model_outputs
from autoprec.graph.model.unrounded import write_unrounded
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment

BODIES = {
    "Brevitas' QCDQ, of four bits": """(float[1,3,8,8] image) => (float[1,4,8,8] masks) {
        iq = QuantizeLinear (image, fine, none) i = DequantizeLinear (iq, fine, none)
        wq = QuantizeLinear <axis = 0> (w, wide, nones) wc = Clip (wq, least, most)
        v = DequantizeLinear <axis = 0> (wc, wide, nones) c = Conv <pads = [1,1,1,1]> (i, v) r = Relu (c)
        rq = QuantizeLinear (r, fine, none) rc = Clip (rq, least, most) d = DequantizeLinear (rc, fine, none)
        masks = Conv (d, w2) }""",
    "an input of levels": """(uint8[1,3,8,8] image) => (float[1,4,8,8] masks) {
        i = DequantizeLinear (image, fine, half) c = Conv <pads = [1,1,1,1]> (i, w) r = Relu (c)
        masks = Conv (r, w2) }""",
    "an output of levels": """(float[1,3,8,8] image) => (uint8[1,4,8,8] masks) {
        c = Conv <pads = [1,1,1,1]> (image, w) r = Relu (c) m = Conv (r, w2)
        masks = QuantizeLinear (m, fine, half) }""",
    "a scale that is computed": """(float[1,3,8,8] image) => (float[1,4,8,8] masks) {
        s = Mul (fine, two) iq = QuantizeLinear (image, s, none) i = DequantizeLinear (iq, s, none)
        c = Conv <pads = [1,1,1,1]> (i, w) r = Relu (c) masks = Conv (r, w2) }""",
    "a zero point that is computed": """(float[1,3,8,8] image) => (float[1,4,8,8] masks) {
        z = Cast <to = 3> (two) iq = QuantizeLinear (image, fine, z) i = DequantizeLinear (iq, fine, z)
        c = Conv <pads = [1,1,1,1]> (i, w) r = Relu (c) masks = Conv (r, w2) }""",
    "no zero point": """(float[1,3,8,8] image) => (float[1,4,8,8] masks) {
        c = Conv <pads = [1,1,1,1]> (image, w) r = Relu (c) rq = QuantizeLinear (r, fine)
        d = DequantizeLinear (rq, fine) masks = Conv (d, w2) }""",
}
RANDOM = np.random.default_rng(0)
HELD = {
    "w": RANDOM.standard_normal((6, 3, 3, 3)).astype(np.float32) / 4,
    "w2": RANDOM.standard_normal((4, 6, 1, 1)).astype(np.float32) / 2,
    "fine": np.float32(0.03),
    "wide": np.full(6, 0.1, np.float32),
    "two": np.float32(2),
    "none": np.int8(0),
    "nones": np.zeros(6, np.int8),
    "half": np.uint8(128),
    "least": np.int8(-7),
    "most": np.int8(7),
}


def write(folder: Path, body: str) -> Path:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {body}')
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in HELD.items()
    )
    onnx.save(model, folder / "given.onnx")
    return folder / "given.onnx"


def computed(path: Path, feeds: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    with Exact(patient=False).build(path) as engine:
        (output,) = run(engine, feeds).values()
    return output


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_a_model_of_another_quantiser_is_loaded_as_what_it_computes(tmp_path: Path, body: str) -> None:
    path, unrounded, copy = write(tmp_path, body), tmp_path / "unrounded.onnx", tmp_path / "copy.onnx"
    kind = onnx.load(path).graph.input[0].type.tensor_type.elem_type
    image = (
        RANDOM.integers(0, 256, (1, 3, 8, 8))
        if kind == TensorProto.UINT8
        else RANDOM.normal(size=(1, 3, 8, 8))
    )
    feeds = {"image": image.astype(helper.tensor_dtype_to_np_dtype(kind))}
    floats = computed(unrounded if write_unrounded(path, unrounded) else path, feeds)
    model = load_model(path)
    write_model(model, copy)
    assert deviation({"": computed(copy, feeds)}, {"": floats}).error < 1e-6
    assert deviation({"": floats}, {"": computed(path, feeds)}).error < 0.2  # four bits are few
    blocks, nodes = partition(model, minimum=1, maximum=4), {str(node.name): node for node in model.graph}
    came = {block.name: sorted(given_precisions(nodes[name] for name in block.nodes)) for block in blocks}
    choices = tuple((name, (names or ["fp32"])[0]) for name, names in came.items())
    Rewriter(model, blocks, {}, base="fp32").write(Assignment(choices=choices), copy)
    assert deviation({"": computed(copy, feeds)}, {"": computed(path, feeds)}).error < 1e-6


def test_levels_of_a_clipped_weight_are_a_weight(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, BODIES["Brevitas' QCDQ, of four bits"]))
    (first, _) = (node for node in model.graph if node.op_type == "Conv")
    weight = first.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    assert np.abs(weight.const_value.numpy()).max() <= 0.7 + 1e-6
    assert model_outputs(model.graph)[0].name == "masks"
