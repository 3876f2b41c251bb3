"""Smoothing changes nothing in floats and much in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.statistics.channels import ChannelCounts
from autoprec.graph.statistics.ranges import Histogram, Histograms, range_of
from autoprec.graph.variants.edits import edited
from autoprec.graph.variants.smoothing import _error, _factors, smooth
from autoprec.precisions import PRECISIONS
from mbconv import calibrated, error, images, outputs, toolbox, uniform, write_mbconv

HEAD = """<ir_version: 10, opset_import: ["" : 22]>
g (float[1,8,12,12] image) => (float[1,8,12,12] masks) {"""
CHAINS = {
    "conv-relu-conv": """
        a = Conv (image, w1, b1)
        b = Relu (a)
        masks = Conv (b, w2)""",
    "grouped": """
        a = Conv <group = 2> (image, w1g, b1)
        masks = Conv <group = 4> (a, w2g)""",
    "transposed": """
        a = ConvTranspose (image, w1t, b1)
        masks = ConvTranspose (a, w2t)""",
    "norm-matmul": """
        t = Transpose <perm = [0, 2, 3, 1]> (image)
        n = LayerNormalization <axis = -1> (t, b8, b8)
        h = MatMul (n, m1)
        masks = Transpose <perm = [0, 3, 1, 2]> (h)""",
    "norm of the fourth axis": """
        t = Transpose <perm = [0, 2, 3, 1]> (image)
        n = LayerNormalization <axis = 3> (t, b8, b8)
        h = MatMul (n, m1)
        masks = Transpose <perm = [0, 3, 1, 2]> (h)""",
    "batch-norm-conv": """
        t = Relu (image)
        a = BatchNormalization (t, v8, b8, b8, v8)
        masks = Conv (a, w8)""",
    "two readers": """
        a = Conv (image, w1, b1)
        b = Conv (a, w2)
        c = Conv (a, w2)
        masks = Mul (b, c)""",
}
NOT_LINEAR = {
    "a computed bias": """
        g = GlobalAveragePool (image)
        c = Squeeze (g)
        a = Conv (image, w8, c)
        masks = Conv (a, w8)""",
    "a computed scale": """
        g = GlobalAveragePool (image)
        c = Squeeze (g)
        t = Transpose <perm = [0, 2, 3, 1]> (image)
        a = LayerNormalization <axis = -1> (t, c, b8)
        h = MatMul (a, m1)
        masks = Transpose <perm = [0, 3, 1, 2]> (h)""",
    "a bias of one number": """
        t = Transpose <perm = [0, 2, 3, 1]> (image)
        f = Flatten <axis = 3> (t)
        a = Gemm (f, m1, one)
        h = Gemm (a, m1)
        s = ReduceMean <keepdims = 0> (h)
        masks = Add (image, s)""",
    "another reader": """
        a = Conv (image, w1, b1)
        c = Conv (a, w2)
        s = ReduceMean <keepdims = 0> (a)
        masks = Add (c, s)""",
}
SHAPES = {
    "w1": (16, 8, 1, 1), "b1": (16,), "w2": (8, 16, 1, 1), "w1g": (16, 4, 1, 1), "w2g": (8, 4, 1, 1),
    "w1t": (8, 16, 1, 1), "w2t": (16, 8, 1, 1), "b8": (8,), "v8": (8,), "m1": (8, 8), "w8": (8, 8, 1, 1),
    "one": (1,),
}  # fmt: skip


def chain(text: str, folder: Path) -> ir.Model:
    random = np.random.default_rng(3)
    model = onnx.parser.parse_model(HEAD + text + "}")
    read = {name for node in model.graph.node for name in node.input}
    for name in sorted(read & SHAPES.keys()):
        shape = SHAPES[name]
        gains = np.exp(random.standard_normal((shape[0], *[1] * (len(shape) - 1))))
        array = (random.standard_normal(shape) * gains).astype(np.float32)
        array = np.abs(array) if name == "v8" else array  # a variance
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, folder / "chain.onnx")
    return load_model(folder / "chain.onnx")


def smoothed(model: ir.Model, folder: Path) -> ir.Model:
    histograms = calibrated(model, images(4), folder)
    choose = lambda histogram: range_of(histogram, method="min-max", percentile=100)  # noqa: E731
    edits = smooth("all", list(model.graph), histograms.channels, choose, 127.0, "int8+smooth")
    return edited(model, {"all": edits}).model


@pytest.mark.parametrize("name", CHAINS)
def test_a_smoothed_model_computes_the_same_in_floats(tmp_path: Path, name: str) -> None:
    model = chain(CHAINS[name], tmp_path)
    after = smoothed(model, tmp_path)
    assert error(outputs(after, images(2, seed=7)), outputs(model, images(2, seed=7))) < 1e-5
    before = {v.name for node in model.graph for v in node.inputs if v is not None}
    assert {v.name for node in after.graph for v in node.inputs if v is not None} != before


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_factors_behind_any_other_op_are_a_node_of_their_own(tmp_path: Path, name: str) -> None:
    model = chain(NOT_LINEAR[name], tmp_path)
    after = smoothed(model, tmp_path)
    assert error(outputs(after, images(2, seed=7)), outputs(model, images(2, seed=7))) < 1e-5
    scaled = [node.inputs[0] for node in after.graph if "smooth" in str(node.name)]
    assert "a" in {value.name for value in scaled if value is not None}


@pytest.mark.parametrize("name", CHAINS)
def test_factors_behind_a_linear_op_cost_no_node(tmp_path: Path, name: str) -> None:
    model = chain(CHAINS[name], tmp_path)
    inputs = [node.inputs[0].name for node in smoothed(model, tmp_path).graph if "smooth" in str(node.name)]  # type: ignore[union-attr]
    assert inputs == ([] if "norm" in name else ["image"])


def test_an_mbconv_computes_the_same_smoothed_and_keeps_a_mul_behind_hard_swish(tmp_path: Path) -> None:
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    edits = box.edits(blocks[0].name, PRECISIONS["int8+smooth"])
    assert edits is not None
    after = edited(model, {blocks[0].name: edits}).model
    assert error(outputs(after, images(2)), outputs(model, images(2))) < 1e-5
    assert {scaling.value for scaling in edits.scalings} == {"image", "b"}


def test_smoothing_cures_channels_that_differ_by_decades(tmp_path: Path) -> None:
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    rewriter, feeds = Rewriter(model, blocks, box, base="fp32"), images(4, seed=9)
    wanted = outputs(model, feeds)
    plain, cured = (
        error(outputs(rewriter.rewrite(uniform(blocks, name)), feeds), wanted)
        for name in ("int8+float-add", "int8+smooth+float-add")
    )
    assert cured < 0.3 * plain


def test_counts_by_channel_give_the_percentile_of_the_scaled_tensor() -> None:
    random = np.random.default_rng(0)
    gains = np.exp(random.normal(0, 2, (1, 6, 1, 1)))
    array = (random.standard_normal((1, 6, 40, 40)) * gains).astype(np.float32)
    factors = np.exp(random.normal(0, 1, 6)).astype(np.float32)
    counts, exact = ChannelCounts.like(array, 1), Histogram()
    counts.observe(array, 1)
    exact.observe("x", array * factors[None, :, None, None])
    for percentile in (90.0, 99.0, 100.0):
        ranges = range_of(counts.scaled(factors), method="percentile", percentile=percentile)
        assert ranges == pytest.approx(range_of(exact, method="percentile", percentile=percentile), rel=0.03)


def test_statistics_of_channels_survive_the_disk(tmp_path: Path) -> None:
    histograms = Histograms()
    for name, channels in (("a", 3), ("b", 5)):
        array = np.random.default_rng(channels).standard_normal((1, channels, 4)).astype(np.float32)
        histograms.observe(name, array)
        histograms.observe_channels(name, array, 1)
    histograms.save(tmp_path / "h.npz")
    loaded = Histograms.load(tmp_path / "h.npz")
    assert loaded is not None
    for name, counts in histograms.channels.items():
        np.testing.assert_array_equal(loaded.channels[name].counts, counts.counts)
        np.testing.assert_array_equal(loaded.channels[name].largest, counts.largest)
        assert loaded.channels[name].top == counts.top


@pytest.mark.parametrize(
    ("gain", "reach", "last"),
    [
        (1.0, 1.0, (0.8, 1.25)),  # alike, so nothing is moved
        (1.0, 100.0, (1.8, 100.0)),  # far weights give a part of their reach to the activation
        (1e4, 1.0, (1e-4, 0.1)),  # a large activation gives a part of its size to the weights
        (1e-7, 100.0, (1024.0, 1024.0)),  # a channel that is nearly 0: no factor is beyond what FP16 bears
    ],
)
def test_a_channel_takes_a_factor_from_its_activation_and_its_weights(
    gain: float, reach: float, last: tuple[float, float]
) -> None:
    random = np.random.default_rng(0)
    array = random.standard_normal((1, 4, 32, 32)).astype(np.float32)
    array[:, 3] *= gain
    weights = random.standard_normal((1, 8, 4, 1))
    weights[:, :, 3] *= reach
    counts = ChannelCounts.like(array, 1)
    counts.observe(array, 1)
    factors = _factors(counts, [weights], 127.0)
    assert last[0] <= factors[3] <= last[1]
    assert factors[:3].max() < 2 * factors[:3].min(), "channels that are alike get like factors"
    small = _factors(counts, [1e-3 * weights], 127.0)
    np.testing.assert_allclose(small, factors, rtol=1e-5, err_msg="weights count by one another")


def test_the_expected_error_is_that_of_a_step_on_every_operand() -> None:
    random = np.random.default_rng(1)
    weight, factors = random.standard_normal((1, 3, 4, 2)), np.exp(random.standard_normal(4))
    squares, step, levels = random.random(4), 0.03, 127.0
    total = 0.0
    for row in weight[0]:
        scaled = row / factors[:, None]
        of_weights = (np.abs(scaled).max() / levels) ** 2 * 2 * float(np.square(factors) @ squares)
        signal = float((np.square(row) * squares[:, None]).sum())
        total += (step**2 * float(np.square(scaled).sum()) + of_weights) / signal
    assert _error(weight, factors, squares, step, levels) == pytest.approx(total)
