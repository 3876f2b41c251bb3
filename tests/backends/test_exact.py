"""Exact arithmetic: what the standard says, whatever the types, and how far something else is from it."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import parser

from autoprec.backends import run
from autoprec.backends.exact import WRONG, Exact, deviation, error
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.errors import TrialError

X = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)


def saved(folder: Path, text: str, opset: int = 22) -> Path:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> g {text}')
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def test_integers_behind_a_pair_are_those_of_the_standard(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        """(float[1,4,8,8] x) => (float[1,4,8,8] y)
        <float s = {0.3}, uint8 z = {7}> { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }""",
    )
    with Exact().build(path) as exact:
        output = run(exact, {"x": X})["y"]
    wanted = (np.clip(np.rint(X / np.float32(0.3)) + 7, 0, 255) - 7) * np.float32(0.3)
    assert np.array_equal(output, wanted.astype(np.float32))
    assert exact.implementation.startswith("ONNX Runtime")


def test_bfloat16_operators_round_what_they_compute(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        """(float[1,4,8,8] x) => (float[1,4,8,8] y) {
            a = Cast <to = 16> (x) b = Sqrt(a) c = Mul(b, b) y = Cast <to = 1> (c) }""",
    )
    with Exact().build(path) as exact:
        output = run(exact, {"x": np.abs(X)})["y"]
    kind = ml_dtypes.bfloat16
    root = np.sqrt(np.abs(X).astype(kind).astype(np.float32)).astype(kind).astype(np.float32)
    assert np.array_equal(output, (root * root).astype(kind).astype(np.float32))


def test_what_onnx_runtime_refuses_runs_on_the_reference_evaluator(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        """(float[1,4,8,8] x) => (float[1,4,8,8] y)
        <float s = {0.5}> { q = QuantizeLinear <output_dtype = 23> (x, s) y = DequantizeLinear(q, s) }""",
        23,
    )
    with Exact().build(path) as exact:
        output = run(exact, {"x": X})["y"]
    assert exact.implementation.startswith("ONNX reference evaluator")
    assert set(np.unique(np.abs(output) / 0.5)) <= {0, 0.5, 1, 1.5, 2, 3, 4, 6}


def test_an_operator_that_nobody_knows_is_refused_with_both_reasons(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    node = onnx.helper.make_node("Strange", ["x"], ["y"], domain="of.nobody")
    values = [onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    imports = [onnx.helper.make_opsetid("", 22), onnx.helper.make_opsetid("of.nobody", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=10), path)
    with pytest.raises(TrialError, match=r"ONNX Runtime: .*reference evaluator: "):
        Exact().build(path)


def test_an_engine_that_computes_the_same_deviates_by_rounding_alone(tmp_path: Path) -> None:
    path = saved(tmp_path, "(float[1,4,8,8] x) => (float[1,4,8,8] y) { a = Exp(x) y = Softmax(a) }")
    with Exact().build(path) as exact, OpenVinoBackend({}).build(path) as engine:
        assert deviation(run(engine, {"x": X}), run(exact, {"x": X})).error < 1e-5


def test_a_deviation_is_relative_to_the_spread_of_the_exact_value() -> None:
    far = X + 1000
    assert error(far + 0.5 * X, far) == pytest.approx(0.5, rel=0.05)
    assert deviation({"a": X, "b": X * 1.1}, {"a": X, "b": X}).value == "b"
    assert error(np.full(4, 3.0000002), np.full(4, 3.0)) < WRONG


@pytest.mark.parametrize("broken", [X[:, :2], np.where(X > 1, np.nan, X), np.where(X > 1, np.inf, X)])
def test_another_shape_or_values_that_are_not_finite_deviate_without_end(broken: np.ndarray) -> None:
    assert error(broken, X) == np.inf
    assert error(X, broken) == np.inf


def test_infinities_in_the_same_places_are_equal_and_labels_deviate_by_their_share() -> None:
    masked = np.where(X > 1, -np.inf, X).astype(np.float32)
    assert error(masked, masked) == 0
    assert error(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])) == 0.25


def test_a_map_of_classes_in_floats_deviates_by_its_share_as_well() -> None:
    classes = np.arange(4, dtype=np.float32).repeat(250).reshape(1, 25, 40)
    flipped = classes.copy()
    flipped[0, 0, 0] = 3
    assert error(flipped, classes) == 0.001
    assert error(classes + 1, classes) > WRONG
    assert error(flipped + 0.25, classes) > 0.1


def test_the_slow_evaluator_is_left_out_where_nobody_waits_for_it(tmp_path: Path) -> None:
    body = "q = QuantizeLinear <output_dtype = 23> (x, s) y = DequantizeLinear(q, s)"
    path = saved(tmp_path, f"(float[1,4,8,8] x) => (float[1,4,8,8] y) <float s = {{0.5}}> {{ {body} }}", 23)
    with pytest.raises(TrialError, match="too slow"):
        Exact(patient=False).build(path)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_samples_on_a_grid_in_float64_are_taken_as_on_one_in_float32(mode: str, tmp_path: Path) -> None:
    """Mask2Former has such grids; ONNX Runtime takes them in float32 alone."""
    places = np.random.default_rng(1).uniform(-1, 1, (1, 5, 5, 2)).astype(np.float32)
    collected = []
    for kind in ("float", "double"):
        text = f"({kind}[1,5,5,2] g, float[1,4,8,8] x) => (float[1,4,5,5] y) {{ y = GridSample"
        path = saved(tmp_path, f'{text} <mode = "{mode}"> (x, g) }}', 16)
        with Exact().build(path) as exact:
            collected.append(run(exact, {"x": X, "g": places})["y"])
    np.testing.assert_allclose(collected[0], collected[1], rtol=1e-4, atol=1e-5)
