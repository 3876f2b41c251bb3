"""Calibration: one pass, one sample in memory at a time, kept by digest, honest about broken data."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import onnx_ir as ir
import psutil
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from autoprec import Study
from autoprec.backends import Arrays, create_backend
from autoprec.calibration import _observe_all, calibrate, quantizable
from autoprec.errors import SamplesError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.statistics.instruments import PLACES, STEP, views
from autoprec.graph.statistics.ranges import Histograms
from autoprec.kept import load
from autoprec.legality.overflow import overflowing
from autoprec.records import Assignment
from autoprec.spec import CalibrationSection, load_spec
from autoprec.study.preparation import prepare
from tiny_study import write_samples, write_study

MODEL = """
<ir_version: 10, opset_import: ["": 20]>
net (float[2,8] x) => (float[2,8] y) <float[8,8] w1, float[8,8] w2, float[8,8] w3> {
    [one] a = MatMul(x, w1)
    [turn] n = Neg(a)
    [keep] r = Relu(a)
    [none] z = Mul(r, zero)
    [two] b = MatMul(r, w2)
    [three] c = MatMul(z, w3)
    [sum] y = Add(b, c)
}
"""


def saved(folder: Path, scale: float = 1.0, *, outside: bool = False) -> Path:
    """Three products; what the third one reads is always zero."""
    model, random = onnx.parser.parse_model(MODEL), np.random.default_rng(0)
    for name in ("w1", "w2", "w3"):
        array = random.standard_normal((8, 8)).astype(np.float32) * (scale if name == "w1" else 1)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=outside, size_threshold=0, location="model.data")
    return path


def samples(count: int, **changed: float) -> list[Arrays]:
    random = np.random.default_rng(1)
    return [
        {"x": random.standard_normal((2, 8)).astype(np.float32) * changed.get("by", 1)} for _ in range(count)
    ]


def calibrated(path: Path, feeds: object, folder: Path) -> tuple[ir.Model, Histograms]:
    model = load_model(path)
    return model, calibrate(model, create_backend("openvino", {}), feeds, folder / "scratch.onnx")  # type: ignore[arg-type]


def test_ranges_are_those_of_the_activations(tmp_path: Path) -> None:
    path, feeds = saved(tmp_path), samples(5)
    _, ranges = calibrated(path, feeds, tmp_path)
    weight = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    limits = ranges.ranges("min-max", 100)
    assert limits["x"] == pytest.approx(max(np.abs(feed["x"]).max() for feed in feeds), rel=1e-6)
    assert limits["r"] == pytest.approx(max((feed["x"] @ weight).max() for feed in feeds), rel=1e-4)
    assert not (tmp_path / "scratch.onnx").exists()


def test_no_more_than_the_sample_that_runs_and_the_one_before_it_are_held(tmp_path: Path) -> None:
    held: list[weakref.ref[np.ndarray]] = []

    def feeds() -> Iterator[Arrays]:
        for feed in samples(20):
            array = feed["x"].copy()
            held.append(weakref.ref(array))
            yield {"x": array}
            del array
            assert sum(reference() is not None for reference in held) <= 2

    calibrated(saved(tmp_path), feeds(), tmp_path)
    assert len(held) == 20


def arrays_in(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    return dict(np.load(file))


def test_what_is_kept_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    path = saved(tmp_path)
    for count in (2, 40):
        _, ranges = calibrated(path, samples(count), tmp_path)
        ranges.save(tmp_path / f"{count}.npz")
    few, many = (load(tmp_path / f"{count}.npz", "histograms 1", "", arrays_in, print) for count in (2, 40))
    assert few is not None
    assert many is not None
    assert {name: array.shape for name, array in few.items()} == {n: a.shape for n, a in many.items()}


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(broken: float, tmp_path: Path) -> None:
    feeds = samples(3)
    feeds[2]["x"][0, 0] = broken
    with pytest.raises(SamplesError, match=r"'\w+' becomes NaN or infinite"):
        calibrated(saved(tmp_path), feeds, tmp_path)
    assert not (tmp_path / "scratch.onnx").exists()


def test_a_value_that_overflows_inside_the_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match=r"'[ar]' becomes NaN or infinite"):
        calibrated(saved(tmp_path, scale=1e20), samples(1, by=1e20), tmp_path)


def test_no_samples_are_an_error_that_says_where_they_go(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match=r"samples\.calibration is empty"):
        calibrated(saved(tmp_path), [], tmp_path)


def test_an_activation_that_is_always_zero_leaves_its_op_in_floats(tmp_path: Path) -> None:
    model, ranges = calibrated(saved(tmp_path), samples(4), tmp_path)
    blocks = partition(model, minimum=1, maximum=1)
    limits = ranges.ranges("percentile", 99.99)
    assert limits["z"] == 0.0
    chosen = Assignment.uniform(blocks, "int8", "int8")
    names = {
        str(node.name): node for node in Rewriter(model, blocks, limits, base="fp32").rewrite(chosen).graph
    }
    makers = {op: [v and v.producer() for v in names[op].inputs] for op in ("two", "three")}
    assert all(maker and maker.op_type == "DequantizeLinear" for maker in makers["two"])
    assert not any(maker and maker.op_type == "DequantizeLinear" for maker in makers["three"])


@pytest.mark.parametrize(("scale", "overflows"), [(1e4, False), (1e5, True)])
def test_a_block_beyond_fp16_is_told_with_its_largest_value(
    scale: float, overflows: bool, tmp_path: Path
) -> None:
    model, ranges = calibrated(saved(tmp_path, scale), [{"x": np.eye(2, 8, dtype=np.float32)}], tmp_path)
    [block] = partition(model, minimum=1, maximum=1)
    told = overflowing(ranges, [block], model)
    assert bool(told) == overflows
    assert all("above FP16's 65504" in reason for reason in told.values())


def test_a_value_that_nothing_quantises_counts_for_overflow_too(tmp_path: Path) -> None:
    model, ranges = calibrated(saved(tmp_path), samples(2), tmp_path)
    assert "y" not in quantizable(model)
    assert ranges.largest["y"] > 0


def test_the_same_numbers_in_another_shape_are_measured_once_and_told_twice(tmp_path: Path) -> None:
    moved = MODEL.replace("[sum] y = Add(b, c)", "s = Add(b, c) t = Transpose(s) v = Neg(t) y = Transpose(v)")
    path = saved(tmp_path)
    model = onnx.load(path)
    del model.graph.node[:]
    model.graph.node.extend(onnx.parser.parse_model(moved).graph.node)
    onnx.save(model, path)
    loaded, histograms = calibrated(path, samples(2), tmp_path)
    assert views(loaded, quantizable(loaded)) == {"t": "s"}  # the model's output counts whole
    assert histograms.largest["t"] == histograms.largest["s"] > 0


def test_weights_in_a_file_beside_the_model_come_along(tmp_path: Path) -> None:
    inside = calibrated(saved(tmp_path / "one"), samples(3), tmp_path)[1]
    outside = calibrated(saved(tmp_path / "two", outside=True), samples(3), tmp_path)[1]
    assert inside.ranges("mse", 0) == outside.ranges("mse", 0)


def test_percentile_is_what_a_study_takes_unless_it_says_otherwise() -> None:
    assert CalibrationSection().method == "percentile"


def test_a_study_calibrates_once_for_each_model_and_set_of_samples(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    said: list[str] = []

    def calibrations() -> int:
        said.clear()
        prepare(load_spec(path), said.append)
        return sum("calibrating on" in line for line in said)

    assert [calibrations(), calibrations()] == [1, 0]
    write_samples(tmp_path / "calibration", seed=9)
    assert [calibrations(), calibrations()] == [1, 0]


def test_a_search_whose_calibration_fails_leaves_no_thread_and_no_worker(tmp_path: Path) -> None:
    path, before = write_study(tmp_path), set(psutil.Process().children())
    (tmp_path / "calibration" / "0.npz").write_bytes(b"rubbish")
    with pytest.raises(SamplesError, match=r"0\.npz"):
        Study.load(path).search("2")
    assert "alongside" not in {thread.name for thread in threading.enumerate()}
    assert not [
        line for line in map(_words, set(psutil.Process().children()) - before) if "measurement" in line
    ]


def _words(process: psutil.Process) -> str:
    """A process' command line; empty where it has ended, though nobody has asked for its exit code yet."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_damaged_store_of_histograms_is_made_anew(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    prepare(load_spec(path))
    [kept] = (tmp_path / "tiny/calibration").glob("*.npz")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    said: list[str] = []
    prepare(load_spec(path), said.append)
    assert f"{kept.name} is damaged: it is rebuilt" in said
    assert kept.read_bytes() == whole


def attention_with(mask: str) -> onnx.ModelProto:
    """Scores of 16 places, with a mask of minus infinity over the later ones, as exporters write it."""
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]> g (float[1,16,8] image) => (float[1,16,8] masks)
        {
            q = MatMul (image, w)  t = Transpose <perm = [0, 2, 1]> (image)  s = MatMul (q, t)
            MASKED
            p = Softmax (m)  masks = MatMul (p, image)
        }""".replace("MASKED", mask)
    )
    keep = np.tril(np.ones((1, 16, 16), bool))
    arrays = {
        "w": np.eye(8, dtype=np.float32),
        "keep": keep,
        "zero": np.float32(0),
        "infinite": np.float32(-np.inf),
        "lowest": np.float32(np.finfo(np.float32).min),
        "added": np.where(keep, 0, -np.inf).astype(np.float32),
    }
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items())
    return proto


@pytest.mark.parametrize(
    "mask",
    [
        "m = Add (s, added)",
        "m = Where (keep, s, infinite)",
        "m = Where (keep, s, lowest)",
        "a = Where (keep, zero, infinite)  m = Add (s, a)",
        "f = ReduceMax <keepdims = 0> (image)  k = Less (s, f)  a = Where (k, zero, lowest)  m = Add (s, a)",
    ],
)
def test_masks_of_attention_are_no_range_and_no_fault(mask: str, tmp_path: Path) -> None:
    onnx.save(attention_with(mask), tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    feeds = [{"image": np.random.default_rng(0).standard_normal((1, 16, 8)).astype(np.float32)}]
    measured = calibrate(model, create_backend("openvino", {}), feeds, tmp_path / "scratch.onnx")
    assert max(measured.largest.values()) < 100
    ranges = measured.ranges("min-max", 100.0)
    assert ranges["p"] > 0
    assert not ranges.get("a", 0.0)
    assert not overflowing(measured, partition(model, minimum=1), model)


def test_infinity_in_what_is_multiplied_is_a_fault(tmp_path: Path) -> None:
    proto = attention_with("m = Add (s, added)")
    proto.graph.node[0].CopyFrom(onnx.helper.make_node("Div", ["image", "zero"], ["q"]))
    onnx.save(proto, tmp_path / "model.onnx")
    feeds = [{"image": np.ones((1, 16, 8), np.float32)}]
    with pytest.raises(SamplesError, match="'q' becomes NaN or infinite"):
        calibrate(
            load_model(tmp_path / "model.onnx"), create_backend("openvino", {}), feeds, tmp_path / "s.onnx"
        )


def test_places_count_for_what_lies_between_them_and_masks_are_left_out() -> None:
    histograms, array = Histograms(), np.ones((1, 2, 2 * STEP, 2 * STEP), np.float32)
    values = {"read": array, f"{PLACES}places": array[..., ::STEP, ::STEP], "added": array}
    values["mask"] = -np.inf * array
    _observe_all(histograms, values.keys(), {}, {"read", "places"}, map, values)
    counts = {name: int(histogram.counts.sum()) for name, histogram in histograms.by_value.items()}
    assert counts == {"read": array.size, "places": array.size, "added": array.size, "mask": 0}
