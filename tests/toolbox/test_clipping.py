"""What a quantiser dropped into the clipping of its grids is clipped in floats too."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from autoprec.errors import ModelError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Block
from mbconv import error, outputs, uniform

TEXT = """<ir_version: 10, opset_import: ["" : %d]> g (float[1,8,8,8] image) => (float[1,8,8,8] masks) {
    %s
    q = QuantizeLinear <axis = 1> (a, scale, zero)
    d = DequantizeLinear <axis = 1> (q, scale, zero)
    masks = Conv (d, w)
}"""
PAIRS = {
    "a ReLU6": (np.float32(6 / 255), np.uint8(0)),
    "a ReLU": (np.float32(20 / 255), np.uint8(0)),
    "Clip(-1, 1)": (np.float32(2 / 254), np.int8(0)),
    "a clip for each channel": (np.linspace(0.5, 6, 8, dtype=np.float32) / 255, np.zeros(8, np.uint8)),
}
MAKERS = {
    "Conv": "a = Conv (image, w)",
    "InstanceNormalization": "a = InstanceNormalization (image, ones, ones)",
    "Neg": "a = Neg (image)",
}


def quantised(folder: Path, pair: str, maker: str = "Conv", opset: int = 20) -> Path:
    """A file with one pair behind an op, whose range is narrower than what the op makes."""
    proto = onnx.parser.parse_model(TEXT % (opset, MAKERS[maker]))
    weights = np.random.default_rng(0).standard_normal((8, 8, 1, 1)).astype(np.float32)
    scale, zero = PAIRS[pair]
    arrays = {"w": weights, "ones": np.ones(8, np.float32), "scale": scale, "zero": zero}
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items())
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


def rewritten(path: Path, precision: str) -> tuple[ir.Model, tuple[Block, ...]]:
    model = load_model(path)
    blocks = partition(model, minimum=1, maximum=1)
    return Rewriter(model, blocks, {"image": 9.0}, base="fp32").rewrite(uniform(blocks, precision)), blocks


def feeds() -> list[dict[str, np.ndarray]]:
    return [{"image": np.random.default_rng(1).standard_normal((1, 8, 8, 8)).astype(np.float32) * 4}]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    ("maker", "opset"), [("Conv", 20), ("Conv", 13), ("InstanceNormalization", 20), ("Neg", 20)]
)
def test_all_fp32_differs_from_the_file_by_rounding_alone(
    pair: str, maker: str, opset: int, tmp_path: Path
) -> None:
    path = quantised(tmp_path, pair, maker, opset)
    plain, _ = rewritten(path, "fp32")
    assert error(outputs(plain, feeds()), outputs(ir.load(path), feeds())) < 0.02


@pytest.mark.parametrize("pair", PAIRS)
def test_in_its_own_precision_the_file_comes_back(pair: str, tmp_path: Path) -> None:
    path = quantised(tmp_path, pair)
    again, _ = rewritten(path, "int8")
    assert Counter(node.op_type for node in again.graph) == Counter(
        node.op_type for node in ir.load(path).graph
    )
    constants = again.graph.initializers.values()
    assert all(value.uses() for value in constants), "bounds go with the operator"
    np.testing.assert_array_equal(outputs(again, feeds()), outputs(ir.load(path), feeds()))


def test_what_cannot_leave_the_grid_is_not_clipped(tmp_path: Path) -> None:
    path = quantised(tmp_path, "a ReLU")
    proto = onnx.load(path)
    proto.graph.node[0].output[0] = "c"
    proto.graph.node.insert(1, onnx.helper.make_node("Sigmoid", ["c"], ["a"]))
    onnx.save(proto, path)
    assert [node.op_type for node in load_model(path).graph] == ["Conv", "Sigmoid", "Conv"]


TWO_PAIRS = """<ir_version: 10, opset_import: ["" : 20]> g (float[1,8,8,8] image) => (float[1,8,8,8] masks)
    <float one = {%s}, float two = {%s}, int8 zero = {0}> {
    a = Neg (image)
    q = QuantizeLinear (a, one, zero)  d = DequantizeLinear (q, one, zero)
    p = QuantizeLinear (a, %s, zero)  e = DequantizeLinear (p, two, zero)
    masks = Add (d, e)
}"""


def test_two_pairs_of_one_value_clip_it_each_in_its_own_way(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(TWO_PAIRS % ("0.02", "0.005", "two")), tmp_path / "model.onnx")
    plain, _ = rewritten(tmp_path / "model.onnx", "fp32")
    wanted = sum(np.clip(-feeds()[0]["image"], -128 * step, 127 * step) for step in (0.02, 0.005))
    np.testing.assert_allclose(outputs(plain, feeds())[0], wanted, rtol=1e-5)


def test_ends_of_a_pair_with_other_scales_are_refused_by_name(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(TWO_PAIRS % ("0.02", "0.04", "one")), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="node 'e' dequantises by another scale or zero point than 'p'"):
        load_model(tmp_path / "model.onnx")
