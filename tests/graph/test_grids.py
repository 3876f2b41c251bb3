"""Activations on other grids than the signed one: the same numbers, or twice as many of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from autoprec.backends import run
from autoprec.backends.exact import Exact, deviation
from autoprec.graph.blocks.partition import partition
from autoprec.graph.grids.grid import GRIDS
from autoprec.graph.model.load import load_model
from autoprec.graph.ops.signs import never_negative
from autoprec.graph.rewrite.implicit import implicit, scales_of
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment

HEAD = '<ir_version: 8, opset_import: ["": 17]> net (float[1,8,8,8] x) => (float[1,8,8,8] y) '
NET = HEAD + "<float[8,8,1,1] w> { p = Abs(x)  a = Conv(p, w)  r = Relu(a)  y = Conv(r, w) }"
FEED = {"x": np.random.default_rng(1).standard_normal((1, 8, 8, 8)).astype(np.float32)}
RANGES = {"p": 4.0, "r": 6.0}


def write(folder: Path, text: str) -> Path:
    proto, random = onnx.parser.parse_model(text), np.random.default_rng(0)
    for value in proto.graph.value_info:
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
        array = (random.standard_normal(sizes) / np.sqrt(8)).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


def outputs(folder: Path, grids: Mapping[str, str], precision: str = "int8") -> dict[str, np.ndarray]:
    model = load_model(write(folder, NET))
    blocks = partition(model, minimum=1, maximum=1)
    rewriter = Rewriter(model, blocks, RANGES, base="fp32", grids=grids)
    rewriter.write(Assignment(choices=((blocks[0].name, precision),)), folder / "typed.onnx")
    with Exact().build(folder / "typed.onnx") as engine:
        return run(engine, FEED)


def test_an_offset_grid_gives_the_numbers_of_the_signed_one(tmp_path: Path) -> None:
    signed = outputs(tmp_path, {})
    assert deviation(outputs(tmp_path, {"p": "offset", "r": "offset"}), signed).error < 1e-6


def test_an_unsigned_grid_halves_the_error_of_values_that_are_never_negative(tmp_path: Path) -> None:
    exact = outputs(tmp_path, {}, "fp32")
    coarse = deviation(outputs(tmp_path, {}), exact).error
    assert deviation(outputs(tmp_path, dict.fromkeys(RANGES, "unsigned")), exact).error < 0.75 * coarse


@pytest.mark.parametrize(("grid", "zero"), [("unsigned", 0), ("offset", 128)])
def test_a_grid_is_written_as_uint8_with_its_zero_point(grid: str, zero: int, tmp_path: Path) -> None:
    outputs(tmp_path, {"r": grid})
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "typed.onnx").graph.initializer}
    assert held["r/uint8/zero"].dtype == np.uint8
    assert int(held["r/uint8/zero"]) == zero
    assert float(held["r/uint8/scale"]) * (255 - zero) == pytest.approx(RANGES["r"])


def test_the_calibration_cache_has_scales_with_a_sign_whatever_the_grid(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, NET))
    [block] = partition(model, minimum=1, maximum=1)
    chosen = Assignment(choices=((block.name, "int8"),))
    home = dict.fromkeys(block.nodes, block.name)
    for grid in ("signed", "unsigned", "offset"):
        typed = Rewriter(model, (block,), RANGES, base="fp32", grids={"r": grid}).rewrite(chosen)
        export = implicit(model, typed, home, chosen, {}, "model.onnx")
        assert dict(export.scales)["r"] == pytest.approx(RANGES["r"] / 127)


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("y = Relu(x)", True),
        ("a = Sigmoid(x)  b = Softmax(x)  y = Mul(a, b)", True),
        ("a = Relu(x)  y = MaxPool<kernel_shape = [1, 1]>(a)", True),
        ("a = Relu(x)  y = Transpose<perm = [0, 1, 3, 2]>(a)", True),
        ("a = Relu(x)  y = Add(a, x)", False),
        ("a = Relu(x)  y = Neg(a)", False),
        ("y = HardSwish(x)", False),
        ("a = Relu(x)  y = Sub(a, a)", False),
    ],
)
def test_what_is_never_negative_follows_from_what_makes_it(body: str, holds: bool, tmp_path: Path) -> None:
    graph = load_model(write(tmp_path, HEAD + "{ " + body + " }")).graph
    assert ("y" in never_negative(graph)) == holds


@pytest.mark.parametrize("name", GRIDS)
def test_the_largest_value_of_a_grid_is_the_last_integer_of_its_type(name: str) -> None:
    grid = GRIDS[name]
    assert grid.zero + grid.steps == np.iinfo(grid.kind.numpy()).max


def test_a_layer_without_a_pair_behind_it_has_the_scale_of_what_it_makes(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, NET))
    [block] = partition(model, minimum=1, maximum=1)
    chosen = Assignment(choices=((block.name, "int8"),))
    typed = Rewriter(model, (block,), RANGES, base="fp32").rewrite(chosen)
    home, largest = dict.fromkeys(block.nodes, block.name), {str(v.name): 254.0 for v in model.graph.outputs}
    export = implicit(model, typed, home, chosen, largest, "model.onnx")
    assert dict(export.scales)["y"] == pytest.approx(2.0)
    assert set(scales_of(typed)) <= {str(v.name) for node in model.graph for v in node.inputs if v}
