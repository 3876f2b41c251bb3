"""Refinement computes what ONNX says, learns, and leaves a trial of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from autoprec import Study
from autoprec.errors import ModelError, StudyError
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.implicit import scales_of
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.variants.edits import edited
from autoprec.samples import load_samples
from autoprec.spec import SamplesSection
from autoprec.study.refining import ensure_trainable
from mbconv import error, images, outputs, toolbox, uniform, write_mbconv
from tiny_study import write_study
from trial_records import complete

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # waiting threads take many times as long beside other tests

from autoprec.refinement import distil  # noqa: E402 - what needs torch comes behind the skip
from autoprec.refinement.distillation import quantised_inputs  # noqa: E402
from autoprec.refinement.network import Network, tensors  # noqa: E402

OPS = {
    "conv": "masks = Conv <strides = [2, 1], pads = [1, 0, 2, 1], dilations = [1, 2]> (image, w3, b8)",
    "depthwise": "masks = Conv <group = 8, pads = [1, 1, 1, 1]> (image, wd)",
    "transposed": "masks = ConvTranspose <strides = [2, 2], group = 2, output_padding = [1, 1]>"
    "(image, wt, b8)",
    "pools": """a = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (image)
                masks = AveragePool <kernel_shape = [2, 2], pads = [0, 0, 1, 1]> (a)""",
    "norms": """t = Transpose <perm = [0, 2, 3, 1]> (image)
                n = LayerNormalization <epsilon = 0.01> (t, b8, b8)
                u = Transpose <perm = [0, 3, 1, 2]> (n)
                masks = BatchNormalization (u, b8, b8, b8, v8)""",
    "attention": """s = Reshape (image, rows)
                    k = Transpose <perm = [0, 2, 1]> (s)
                    p = MatMul (k, s)
                    q = Softmax (p)
                    masks = MatMul (s, q)""",
    "pieces": """a, b = Split <axis = 1, num_outputs = 2> (image)
                 c = Concat <axis = 1> (b, a)
                 d = Slice (c, starts, ends, axes, steps)
                 masks = Gather <axis = 1> (d, picks)""",
    "curves": """a = HardSwish (image)
                 b = Gelu (a)
                 c = HardSigmoid (b)
                 d = Sigmoid (c)
                 e = Erf (d)
                 masks = Tanh (e)""",
    "sums": """a = ReduceMean <keepdims = 1> (image, axes)
               b = Div (image, a)
               masks = ReduceSum <keepdims = 0> (b, axes)""",
    "up": 'masks = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (image, , scales)',
    "edges": """a = Pad <mode = "reflect"> (image, pads)
                b = Clip (a, low, )
                c = Unsqueeze (b, axes)
                masks = Squeeze (c, axes)""",
    "gemm": """f = Flatten (image)
               masks = Gemm <alpha = 0.5, transB = 1> (f, wg, b4)""",
}
RANDOM = np.random.default_rng(4)
CONSTANTS = {
    "w3": RANDOM.standard_normal((8, 8, 3, 3)).astype(np.float32),
    "wd": RANDOM.standard_normal((8, 1, 3, 3)).astype(np.float32),
    "wt": RANDOM.standard_normal((8, 4, 3, 3)).astype(np.float32),
    "wg": RANDOM.standard_normal((4, 1152)).astype(np.float32),
    "b8": RANDOM.standard_normal(8).astype(np.float32),
    "v8": np.full(8, 0.7, np.float32),
    "b4": RANDOM.standard_normal(4).astype(np.float32),
    "low": np.array(-0.5, np.float32),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "rows": np.array([0, 8, -1]),
    "starts": np.array([1, 10]),
    "ends": np.array([7, -(2**40)]),
    "axes": np.array([2, 3]),
    "steps": np.array([2, -3]),
    "picks": np.array([[3, 0], [-1, 2]]),
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
}


def op_model(name: str, folder: Path) -> ir.Model:
    head = '<ir_version: 10, opset_import: ["" : 22]> g (float[1,8,12,12] image) => (float masks)'
    model = onnx.parser.parse_model(f"{head} {{{OPS[name]}}}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    read = {value for node in model.graph.node for value in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, key) for key, array in CONSTANTS.items() if key in read
    )
    onnx.save(model, folder / "op.onnx")
    return load_model(folder / "op.onnx")


@pytest.mark.parametrize("name", OPS)
def test_an_operator_computes_what_onnx_runtime_does(tmp_path: Path, name: str) -> None:
    model, (feeds,) = op_model(name, tmp_path), images(1)
    with torch.no_grad():
        output = Network(model)(tensors(feeds))["masks"].numpy()
    np.testing.assert_allclose(output, outputs(model, [feeds])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["int8", "int8+smooth", "fp8"])
def test_fake_quantisation_is_what_the_candidate_does(tmp_path: Path, precision: str) -> None:
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    rewriter, (feeds,) = Rewriter(model, blocks, box, base="fp32"), images(1, seed=3)
    assignment = uniform(blocks, precision)
    typed = rewriter.rewrite(assignment)
    student = Network(rewriter.source(assignment).model, quantised_inputs(typed), scales_of(typed))
    with torch.no_grad():
        output = student(tensors(feeds))["masks"].numpy()
    # ONNX's own evaluator: ONNX Runtime 1.32 on the CPU gives other numbers for FP8.
    plain, wanted = outputs(model, [feeds])[0], ReferenceEvaluator(ir.to_proto(typed)).run(None, feeds)[0]
    assert error(output, wanted) < 0.2 * error(plain, wanted)


def test_distillation_brings_the_quantised_model_nearer_to_the_float_one(tmp_path: Path) -> None:
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    rewriter, assignment = Rewriter(model, blocks, box, base="fp32"), uniform(blocks, "int8")
    for number, feeds in enumerate(images(16)):
        (tmp_path / "samples").mkdir(exist_ok=True)
        np.savez(tmp_path / "samples" / f"{number}.npz", image=feeds["image"])
    section = SamplesSection(calibration=str(tmp_path / "samples"), evaluation="")
    samples = load_samples(section, "calibration", {"image": (1, 8, 12, 12)})
    typed = rewriter.rewrite(assignment)
    source = rewriter.source(assignment)[0]
    edits = distil(model, source, typed, samples, 0.1, least=1200)
    student = Network(edited(source, {"": edits}).model, quantised_inputs(typed), _steps(edits.ranges))
    fresh = images(4, seed=11)
    with torch.no_grad():
        after = np.stack([student(tensors(feeds))["masks"].numpy() for feeds in fresh])
    wanted = outputs(model, fresh)
    assert error(after, wanted) < 0.85 * error(outputs(typed, fresh), wanted)


def _steps(ranges: object) -> dict[str, float]:
    assert isinstance(ranges, dict)
    return {name: limit / 127 for name, limit in ranges.items()}


def test_an_operator_that_training_does_not_know_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    head = '<ir_version: 10, opset_import: ["" : 22]> g (float[1,8] x) => (float[1,8] y)'
    onnx.save(onnx.parser.parse_model(f"{head} {{y = Celu (x)}}"), path)
    with pytest.raises(ModelError, match="Celu"):
        Network(load_model(path))


def test_a_refined_trial_stands_beside_the_one_that_it_came_from(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    study = Study.load(path)
    study.search("4")
    before = next(trial for trial in study.trials() if trial.label == "all-int8")
    record = study.refine(before.number, 8.0)
    assert (record.origin, record.label, record.state) == ("refined", f"refined-{before.number}", "complete")
    assert record.assignment.choices == before.assignment.choices
    assert record.assignment.digest != before.assignment.digest
    assert record.measurement is not None
    assert before.measurement is not None
    after, first = record.measurement.quality.logit_error, before.measurement.quality.logit_error
    assert after is not None
    assert first is not None
    assert after < first
    study.export(tmp_path / "out", trial=record.number)
    study.search("2")  # goes on, and measures neither again
    assert [t.number for t in study.trials() if t.assignment == record.assignment] == [record.number]


def test_what_cannot_be_refined_is_told(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    study.search("2")
    with pytest.raises(StudyError, match="nothing to refine"):
        study.refine(0, 1.0)


def test_a_trial_with_blocks_that_training_cannot_fake_is_refused_naming_one() -> None:
    with pytest.raises(StudyError, match="trial 3 has 'neck' in nvfp4, which training does not support"):
        ensure_trainable(complete(3, 5.0, 0.1, choices="int8 nvfp4"))


def test_without_pytorch_the_way_out_is_told(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    Study.load(path).search("4")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from autoprec.cli import main\n"
        f"sys.argv = ['autoprec', 'refine', '3', '--study', {str(path)!r}]\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install '.[qat]'" in done.stderr
