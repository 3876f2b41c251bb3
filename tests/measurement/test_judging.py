"""Each step's fault is found and named: against the original file, run by another implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from autoprec.measurement.fidelity.judge import Judge
from autoprec.measurement.messages import Compare, Original
from autoprec.records import Departure, Step
from autoprec.spec import BackendSection, PipelineSection, QualitySection, SamplesSection

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "w": RANDOM.standard_normal((8, 3, 3, 3)).astype(np.float32),
    "v": RANDOM.standard_normal((2, 8, 3, 3)).astype(np.float32),
}
HEAD = "a = Conv <pads = [1,1,1,1]> (image, w)"
TAIL = "masks = Conv <pads = [1,1,1,1]> (b, v)"
PLAIN = f"{HEAD} b = Relu(a) {TAIL}"
ANTIALIASED = f"""{HEAD} size = Constant <value_ints = [7, 7]> ()
    b = Resize <mode = "linear", antialias = 1, axes = [2, 3]> (a, , , size) {TAIL}"""
"""OpenVINO 2026.4.1 computes another function here, also in FP32."""
QUANTISED = f"""{HEAD} s = Constant <value_float = 0.05> () z = Constant <value = uint8 {{0}}> ()
    q = QuantizeLinear(a, s, z) b = DequantizeLinear(q, s, z) {TAIL}"""
"""Its pair is what is left of a ReLU and of a Clip at 12.75."""


def saved(path: Path, body: str, weights: dict[str, np.ndarray] = WEIGHTS) -> Path:
    graph = f"g (float[1,3,16,16] image) => (float[1,2,H,W] masks) {{{body}}}"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 22]> {graph}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.save(model, path)
    return path


def judge(folder: Path, given: str, *, keeps_rounding: bool = False) -> Judge:
    (folder / "samples").mkdir()
    for number in range(2):
        image = np.random.default_rng(number).standard_normal((1, 3, 16, 16)).astype(np.float32)
        np.savez(folder / "samples" / f"{number}.npz", image=image)
    return Judge(
        Original(
            path=str(saved(folder / "given.onnx", given)),
            folder=str(folder),
            backend=BackendSection(),
            pipeline=PipelineSection(),
            samples=SamplesSection(calibration="", evaluation=str(folder / "samples")),
            quality=QualitySection(),
            shapes={"image": (1, 3, 16, 16)},
            count=2,
            keeps_rounding=keeps_rounding,
        )
    )


def compared(folder: Path, given: str, step: Step, body: str, **weights: np.ndarray) -> Departure:
    path = saved(folder / "step.onnx", body, WEIGHTS | weights)
    right = judge(folder, given, keeps_rounding=step == "given")
    return right.compare(Compare(original=right.original, step=step, path=str(path), tolerance=1e-3))


@pytest.mark.parametrize("step", ["loading", "engine", "reference"])
def test_a_step_that_computes_the_same_is_within_rounding(tmp_path: Path, step: Step) -> None:
    comparison = compared(tmp_path, PLAIN, step, PLAIN)
    assert not comparison.is_beyond
    assert (comparison.loss, comparison.samples, comparison.culprit, comparison.node) == (0, 2, "", "")
    assert comparison.implementation.startswith("ONNX Runtime")


def test_what_loading_changes_is_named_with_its_node(tmp_path: Path) -> None:
    comparison = compared(tmp_path, PLAIN, "loading", PLAIN.replace("Relu", "Elu"))
    assert comparison.is_beyond
    assert comparison.culprit == "autoprec's loading"
    assert "(Elu)" in comparison.node


@pytest.mark.parametrize("step", ["engine", "reference"])
def test_what_rewriting_changes_is_not_blamed_on_the_engine(tmp_path: Path, step: Step) -> None:
    comparison = compared(tmp_path, PLAIN, step, PLAIN, v=1.1 * WEIGHTS["v"])
    assert comparison.culprit == f"autoprec's rewriting ({step})"
    assert "masks" in comparison.node


@pytest.mark.parametrize("step", ["engine", "reference"])
def test_an_engine_that_departs_from_the_standard_is_named_with_its_node(tmp_path: Path, step: Step) -> None:
    comparison = compared(tmp_path, ANTIALIASED, step, ANTIALIASED)
    assert comparison.is_beyond
    assert comparison.culprit.startswith("the engine (openvino)")
    assert "(Resize)" in comparison.node


def test_the_float_model_of_a_quantised_file_has_its_clipping_and_not_its_rounding(tmp_path: Path) -> None:
    limits = "low = Constant <value_float = 0.0> () high = Constant <value_float = 12.75> ()"
    clipped = f"{HEAD} {limits} b = Clip(a, low, high) {TAIL}"
    assert compared(tmp_path, QUANTISED, "loading", clipped).error < 1e-6


def test_a_relu_that_was_lost_with_its_pair_is_found(tmp_path: Path) -> None:
    comparison = compared(tmp_path, QUANTISED, "loading", f"{HEAD} b = Identity(a) {TAIL}")
    assert comparison.is_beyond
    assert "(Identity)" in comparison.node


def test_pairs_that_are_not_put_back_as_they_came_are_found(tmp_path: Path) -> None:
    assert compared(tmp_path, QUANTISED, "given", QUANTISED).error == 0
    (tmp_path / "other").mkdir()
    other = QUANTISED.replace("uint8 {0}", "uint8 {9}")
    comparison = compared(tmp_path / "other", QUANTISED, "given", other)
    assert comparison.culprit == "autoprec's writing of the pairs that it came with"
    assert "Linear)" in comparison.node


def test_a_model_that_amplifies_rounding_is_not_blamed(tmp_path: Path) -> None:
    chaotic = f"{HEAD} big = Constant <value_float = 1e7> () c = Mul(a, big) b = Sin(c) {TAIL}"
    comparison = compared(tmp_path, chaotic, "engine", chaotic, w=WEIGHTS["w"] * np.float32(1 + 1e-6))
    assert comparison.error > 0.1
    assert not comparison.is_beyond


@pytest.mark.parametrize(("kind", "least"), [(10, 0.0), (16, 1e-3)])
def test_a_file_in_low_precision_is_compared_as_what_it_is(tmp_path: Path, kind: int, least: float) -> None:
    """ONNX Runtime leaves the rounding of FP16 out where it can."""
    narrow, wide = f"Cast <to = {kind}>", "Cast <to = 1>"
    given = f"""x = {narrow} (image) u = {narrow} (w) t = {narrow} (v)
        a = Conv <pads = [1,1,1,1]> (x, u) b = Relu(a)
        m = Conv <pads = [1,1,1,1]> (b, t) masks = {wide} (m)"""
    comparison = compared(tmp_path, given, "loading", PLAIN)
    assert least <= comparison.error < comparison.tolerance
    (tmp_path / "other").mkdir()
    assert compared(tmp_path / "other", given, "loading", PLAIN.replace("Relu", "Elu")).is_beyond


def test_pairs_in_fp16_are_compared_without_the_rounding_of_fp16(tmp_path: Path) -> None:
    body = f"""{HEAD} h = Cast <to = KIND> (a) k = Constant <value_float = 0.05> () s = Cast <to = KIND> (k)
        z = Constant <value = uint8 {{0}}> () x = Mul(h, s)
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) b = Cast <to = 1> (d) {TAIL}"""
    halves, scale = body.replace("KIND", "10"), float(np.float16(0.05))
    floats = body.replace("KIND", "1").replace("0.05", str(scale))
    comparison = compared(tmp_path, halves, "given", floats)
    assert (comparison.error, comparison.is_beyond) == (0, False)


def test_a_resize_that_cuts_levels_is_judged_as_if_it_rounded(tmp_path: Path) -> None:
    head = f"""{HEAD} s = Constant <value_float = 0.4> () z = Constant <value = uint8 {{0}}> ()
        size = Constant <value_floats = [1.0, 1.0, 1.73, 1.73]> () q = QuantizeLinear(a, s, z)"""
    resized = f'{head} r = Resize <mode = "linear"> (q, , size) b = DequantizeLinear(r, s, z) {TAIL}'
    floats = f"""{head} d = DequantizeLinear(q, s, z) e = Resize <mode = "linear"> (d, , size)
        f = QuantizeLinear(e, s, z) b = DequantizeLinear(f, s, z) {TAIL}"""
    assert compared(tmp_path, resized, "given", floats).error < 1e-6
