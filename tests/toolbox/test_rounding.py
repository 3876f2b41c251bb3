"""Learned rounding and corrected biases make a quantised op's output more like the float one's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from autoprec.backends import create_backend
from autoprec.calibration import calibrate, measure_moments
from autoprec.graph.blocks.partition import partition
from autoprec.graph.grids.weights import on_grid, weight_scales
from autoprec.graph.model.load import load_model
from autoprec.graph.statistics.moments import Moments, MomentSums, load_moments, save_moments
from autoprec.graph.variants import rounding
from autoprec.graph.variants.edits import Edits, edited
from autoprec.graph.variants.rounding import bias_shift, learned, refine
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.precisions import PRECISIONS
from mbconv import images, outputs

OPS = {
    "strided": "masks = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (image, w3, b)",
    "dilated": "masks = Conv <dilations = [2, 2], pads = [0, 1, 2, 3]> (image, w3, b)",
    "grouped": "masks = Conv <group = 2> (image, wg, b)",
    "product": "t = Transpose <perm = [0, 2, 3, 1]> (image)\n h = MatMul (t, m)\n masks = Add (h, b)",
    "no bias": "masks = Conv <pads = [1, 1, 1, 1]> (image, w3)",
}
SHAPES = {"w3": (16, 8, 3, 3), "wg": (16, 4, 1, 1), "m": (8, 16), "b": (16,)}


def op_model(name: str, folder: Path) -> ir.Model:
    random = np.random.default_rng(5)
    head = '<ir_version: 10, opset_import: ["" : 22]> g (float[1,8,12,12] image) => (float masks)'
    model = onnx.parser.parse_model(f"{head} {{{OPS[name]}}}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    read = {value for node in model.graph.node for value in node.input}
    for weight in sorted(read & SHAPES.keys()):
        array = random.standard_normal(SHAPES[weight]).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, weight))
    onnx.save(model, folder / "op.onnx")
    return load_model(folder / "op.onnx")


def correlated(count: int) -> list[dict[str, NDArray[np.float32]]]:
    """Images whose channels are mixtures of three, with a mean, as real activations are."""
    random = np.random.default_rng(8)
    mix = random.standard_normal((8, 3))
    parts = [random.standard_normal((3, 144)) + 1 for _ in range(count)]
    return [{"image": (mix @ part).reshape(1, 8, 12, 12).astype(np.float32)} for part in parts]


@pytest.mark.parametrize("name", OPS)
def test_moments_are_those_of_the_rows_that_the_op_multiplies(tmp_path: Path, name: str) -> None:
    """The mean output of an op without bias is its weights times the mean row."""
    model = op_model(name, tmp_path)
    feeds = images(3)
    (measured,) = measure_moments(model, create_backend("openvino", {}), feeds, tmp_path / "i.onnx").values()
    node = next(node for node in model.graph if node.op_type in ("Conv", "MatMul"))
    changed = {(str(node.name), 2): ir.tensor(np.zeros(16, np.float32), name="zero")}
    bare = edited(model, {"all": Edits(changed if node.op_type == "Conv" else {})}).model
    total = outputs(bare, feeds)
    wanted = total.mean(axis=(0, 1, 3, 4)) if node.op_type == "Conv" else total.mean(axis=(0, 1, 2, 3))
    if node.op_type == "MatMul":
        wanted = wanted - model.graph.initializers["b"].const_value.numpy()  # type: ignore[union-attr]
    weight = node.inputs[1].const_value.numpy()  # type: ignore[union-attr]
    rows = (
        weight.reshape(len(measured.mean), 16 // len(measured.mean), -1)
        if node.op_type == "Conv"
        else weight.T[None]
    )
    np.testing.assert_allclose(np.einsum("gok,gk->go", rows, measured.mean).reshape(-1), wanted, atol=1e-4)
    bias = 0 if node.op_type == "Conv" else model.graph.initializers["b"].const_value.numpy()  # type: ignore[union-attr]
    channels = (0, 1, 3, 4) if node.op_type == "Conv" else (0, 1, 2, 3)
    squares = np.einsum("gok,gkl,gol->go", rows, measured.second, rows).reshape(-1)
    np.testing.assert_allclose(squares, np.square(total - bias).mean(axis=channels), rtol=1e-3)


@pytest.mark.parametrize("name", OPS)
def test_the_pass_of_calibration_measures_the_same_moments(tmp_path: Path, name: str) -> None:
    model, feeds, engine = op_model(name, tmp_path), images(3), create_backend("openvino", {})
    sums = MomentSums(model.graph)
    calibrate(model, engine, feeds, tmp_path / "i.onnx", also=sums.observe)
    alone = measure_moments(model, engine, feeds, tmp_path / "i.onnx")
    (beside,) = sums.result().values()
    np.testing.assert_allclose(beside.second, next(iter(alone.values())).second, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OPS)
def test_learned_rounding_and_biases_bring_the_output_nearer(tmp_path: Path, name: str) -> None:
    model, feeds = op_model(name, tmp_path), correlated(8)
    moments = measure_moments(model, create_backend("openvino", {}), feeds, tmp_path / "i.onnx")
    wanted = outputs(model, feeds)
    node = next(node for node in model.graph if str(node.name) in moments)
    errors = {}
    for variant in ("int8+bias", "int8+adaround", "int8+adaround+bias"):
        precision = PRECISIONS[variant]
        edits = refine(Edits({}), [node], moments, {str(node.name): 1e-4}, precision)
        changed = dict(edits.constants)
        if not precision.learns_rounding:
            changed[str(node.name), 1] = _nearest(node)
        output = outputs(edited(model, {"all": Edits(changed)}).model, feeds)
        errors[variant] = float(np.square(output - wanted).mean())
    nearest = edited(model, {"all": Edits({(str(node.name), 1): _nearest(node)})})[0]
    errors["int8"] = float(np.square(outputs(nearest, feeds) - wanted).mean())
    assert errors["int8+adaround"] < 0.8 * errors["int8"]
    assert errors["int8+bias"] < errors["int8"]
    assert errors["int8+adaround+bias"] < errors["int8+adaround"] * 1.001


def _nearest(node: ir.Node) -> ir.TensorProtocol:
    array = node.inputs[1].const_value.numpy()  # type: ignore[union-attr]
    axis = 0 if node.op_type == "Conv" else 1
    scales = weight_scales(array, axis, 127.0, ir.DataType.FLOAT)
    grid = on_grid(array, scales, axis, 127.0, ir.DataType.INT8)
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    return ir.tensor(grid.astype(np.float32) * scales.reshape(shape), name="nearest")


def test_learned_weights_are_on_the_grid_that_quantisation_uses() -> None:
    random = np.random.default_rng(0)
    weights = random.standard_normal((1, 6, 10, 1)).astype(np.float32)
    rows = random.standard_normal((50, 10)).astype(np.float32)
    moments = Moments((rows.T @ rows / np.float32(50))[None], rows.mean(axis=0)[None])
    rounded = learned(weights, moments, None, 0.0, 127)
    scales = weight_scales(rounded[0, :, :, 0], 0, 127.0, ir.DataType.FLOAT)
    grid = on_grid(rounded[0, :, :, 0], scales, 0, 127.0, ir.DataType.INT8)
    np.testing.assert_allclose(grid * scales[:, None], rounded[0, :, :, 0], rtol=1e-5, atol=1e-7)
    steps = np.abs(weights).max(axis=2, keepdims=True) / 127
    assert (np.abs(rounded - weights) < steps * 1.001).all()


def test_weights_are_learned_in_batches_as_they_are_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    weights = random.standard_normal((2, 7, 20, 9)).astype(np.float32)
    rows = random.standard_normal((2, 400, 180)).astype(np.float32)
    moments = Moments(np.einsum("gnk,gnl->gkl", rows, rows) / np.float32(400), rows.mean(axis=1))
    collected = []
    for batch in (1, 64, 1000):
        monkeypatch.setattr(rounding, "_BATCH", batch)
        collected.append(learned(weights, moments, None, 1e-3, 127))
    assert (collected[0] != weights).any()
    np.testing.assert_array_equal(collected[0], collected[1])
    np.testing.assert_array_equal(collected[0], collected[2])


def cost(rounded: NDArray[np.float32], weights: NDArray[np.float32], moments: Moments) -> float:
    off = (rounded - weights)[0, :, :, 0]
    return float(np.einsum("ok,kl,ol->", off, moments.second[0], off))


def mixed() -> tuple[NDArray[np.float32], Moments]:
    """Weights [1, 3, 6, 1] and the moments of inputs that hang together."""
    random = np.random.default_rng(4)
    weights = random.standard_normal((1, 3, 6, 1)).astype(np.float32)
    rows = (random.standard_normal((40, 6)) @ random.standard_normal((6, 6))).astype(np.float32)
    return weights, Moments((rows.T @ rows / np.float32(40))[None], rows.mean(axis=0)[None])


def test_no_single_weight_would_be_better_on_its_other_side() -> None:
    weights, moments = mixed()
    steps = np.abs(weights).max(axis=2, keepdims=True) / 127
    rounded = learned(weights, moments, None, 0.0, 127)
    assert cost(rounded, weights, moments) < 0.8 * cost(np.rint(weights / steps) * steps, weights, moments)
    for place in np.ndindex(*weights.shape):
        other, step = rounded.copy(), steps[place[0], place[1], 0, 0]
        other[place] = (2 * np.floor(weights[place] / step) + 1) * step - rounded[place]
        if np.abs(weights[place]) < 127 * step * 0.999:
            assert cost(other, weights, moments) > cost(rounded, weights, moments) * 0.999


def test_noise_of_the_input_draws_weights_to_the_nearest_step() -> None:
    weights, moments = mixed()
    steps = np.abs(weights).max(axis=2, keepdims=True) / 127
    nearest = np.rint(weights / steps) * steps
    np.testing.assert_allclose(learned(weights, moments, None, 1e6, 127), nearest, rtol=1e-5)
    assert np.abs(learned(weights, moments, None, 0.0, 127) - nearest).max() > steps.min() / 2
    zeros = np.zeros_like(weights)
    np.testing.assert_array_equal(learned(zeros, moments, None, 0.0, 127), zeros)


def test_factors_of_channels_scale_what_was_measured_before_them() -> None:
    random = np.random.default_rng(5)
    weights = random.standard_normal((2, 4, 3, 4)).astype(np.float32)
    factors = np.arange(1, 7, dtype=np.float32)
    rows = random.standard_normal((2, 60, 12)).astype(np.float32) + 1
    scaled = rows * np.repeat(factors.reshape(2, 3), 4, axis=1)[:, None]
    before, after = (
        Moments(np.einsum("gnk,gnl->gkl", r, r) / np.float32(60), r.mean(axis=1)) for r in (rows, scaled)
    )
    rounded = learned(weights, after, None, 1e-3, 127)
    np.testing.assert_allclose(learned(weights, before, factors, 1e-3, 127), rounded, rtol=1e-5)
    np.testing.assert_allclose(
        bias_shift(weights, rounded, before, factors),
        bias_shift(weights, rounded, after, None),
        rtol=1e-3,
        atol=1e-6,
    )


def test_a_wide_step_of_the_input_counts_as_noise_of_a_twelfth_of_its_square(tmp_path: Path) -> None:
    model = op_model("no bias", tmp_path)
    moments = measure_moments(model, create_backend("openvino", {}), correlated(4), tmp_path / "i.onnx")
    node = next(node for node in model.graph if str(node.name) in moments)
    weights = node.inputs[1].const_value.numpy()  # type: ignore[union-attr]
    for step in (0.5, 4.0):
        edits = refine(Edits({}), [node], moments, {str(node.name): step}, PRECISIONS["int8+adaround"])
        form = weights.reshape(1, 16, 8, 9)
        rounded = learned(form, moments[str(node.name)], None, step**2 / 12, 127).reshape(weights.shape)
        np.testing.assert_array_equal(edits.constants[str(node.name), 1].numpy(), rounded)


def test_the_step_of_an_input_is_its_range_by_the_levels_of_its_grid(tmp_path: Path) -> None:
    model, precision = op_model("no bias", tmp_path), PRECISIONS["int8+adaround"]
    (block,), feeds, engine = partition(model), correlated(4), create_backend("openvino", {})
    moments = measure_moments(model, engine, feeds, tmp_path / "i.onnx")
    histograms = calibrate(model, engine, feeds, tmp_path / "i.onnx")
    box = Toolbox(model, [block], histograms, method="min-max", percentile=100, moments=moments)
    edits, (node,) = box.edits(block.name, precision), model.graph
    steps = {str(node.name): box.ranges(precision)["image"] / 127}
    assert edits is not None
    (tensor,), (wanted,) = (
        one.constants.values() for one in (edits, refine(Edits({}), [node], moments, steps, precision))
    )
    np.testing.assert_array_equal(tensor.numpy(), wanted.numpy())


def test_a_corrected_bias_keeps_the_mean_of_the_output() -> None:
    random = np.random.default_rng(0)
    weights, rows = random.standard_normal((1, 4, 5, 1)), random.standard_normal((100, 5)) + 2
    rounded = np.rint(weights * 4) / 4
    moments = Moments(
        (rows.T @ rows / 100)[None].astype(np.float32), rows.mean(axis=0)[None].astype(np.float32)
    )
    shift = bias_shift(weights, rounded, moments, None)
    before, after = rows @ weights[0, :, :, 0].T, rows @ rounded[0, :, :, 0].T + shift
    np.testing.assert_allclose(before.mean(axis=0), after.mean(axis=0), atol=1e-5)


def test_moments_survive_the_disk_and_damage_is_noticed(tmp_path: Path) -> None:
    moments = {"a/b": Moments(np.eye(3, dtype=np.float32)[None], np.ones((1, 3), np.float32))}
    save_moments(moments, tmp_path / "m.npz")
    loaded = load_moments(tmp_path / "m.npz")
    assert loaded is not None
    np.testing.assert_array_equal(loaded["a/b"].second, moments["a/b"].second)
    (tmp_path / "m.npz").write_bytes(b"PK")
    assert load_moments(tmp_path / "m.npz") is None
