"""What is probed is what is searched, and what comes out is compared with exact arithmetic."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import onnx
import pytest

from autoprec.backends import Engine, run
from autoprec.backends.exact import WRONG, Exact, deviation
from autoprec.backends.openvino import OpenVinoBackend, OpenVinoEngine
from autoprec.graph.rewrite.rewrite import METADATA_KEY
from autoprec.legality import pieces
from autoprec.legality.inputs import feeds_of
from autoprec.legality.patterns import PATTERNS
from autoprec.legality.probe import try_question
from patterns import question, tried


class Off(OpenVinoBackend):
    """An engine that computes something else."""

    def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        engine = super().build(model_path, profiled=profiled)
        right = engine.outputs
        engine.outputs = lambda: {name: 1.2 * array for name, array in right().items()}  # type: ignore[method-assign]
        return engine


def deviates(engine: Engine, exact_path: Path) -> float:
    feeds = feeds_of(exact_path)
    with engine as built, Exact(threads=1).build(exact_path) as exact:
        return deviation(run(built, feeds), run(exact, feeds)).error


@pytest.mark.parametrize("pattern", ["conv", "gemm", "attention"])
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_an_engine_that_computes_something_else_is_wrong(
    pattern: str, precision: str, tmp_path: Path
) -> None:
    assert tried(tmp_path, OpenVinoBackend({}), pattern, precision, "fp32").is_legal
    verdict = tried(tmp_path, Off({}), pattern, precision, "fp32")
    assert verdict.state == "wrong"
    assert verdict.error == pytest.approx(0.2, abs=0.03)
    assert "20 % from exact arithmetic" in verdict.reason


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if "behind" in name])
def test_surroundings_are_wrong_exactly_where_this_processor_miscomputes_them(
    pattern: str, tmp_path: Path
) -> None:
    asked, backend = question(tmp_path, pattern, "int8", "fp32"), OpenVinoBackend({})
    off = deviates(backend.build(Path(asked.model_path)), Path(asked.exact_path))
    assert (try_question(backend, asked).state == "wrong") == (off > WRONG)


def test_what_is_asked_is_written_by_the_writer_of_candidates(tmp_path: Path) -> None:
    model = onnx.load(question(tmp_path, "conv", "int8").model_path)
    assert METADATA_KEY in {entry.key for entry in model.metadata_props}
    assert {"QuantizeLinear", "DequantizeLinear", "Cast"} <= {node.op_type for node in model.graph.node}


def test_a_question_s_digest_follows_what_is_written_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory() as folder:
        first = question(Path(folder), "gemm", "int8")
        assert question(Path(folder), "gemm", "int8", "bf16").digest != first.digest
        assert question(Path(folder), "gemm", "bf16").digest != first.digest
    assert question(tmp_path, "gemm", "int8").digest == first.digest
    monkeypatch.setattr(pieces, "_MADE", {})  # as another process makes it
    (tmp_path / "again").mkdir()
    assert question(tmp_path / "again", "gemm", "int8").digest == first.digest


def test_a_model_that_nothing_independent_runs_is_judged_by_its_kernels_alone(tmp_path: Path) -> None:
    asked = question(tmp_path, "gemm", "int8", "fp32")
    head = '<ir_version: 10, opset_import: ["": 22, "ours": 1]> g (float[64,64] x) => (float[64,64] y) '
    onnx.save(onnx.parser.parse_model(head + "{ y = ours.Op(x) }"), tmp_path / "ours.onnx")
    apart = msgspec.structs.replace(asked, exact_path=str(tmp_path / "ours.onnx"))
    verdict = try_question(OpenVinoBackend({}), apart)
    assert (verdict.state, verdict.error) == ("legal", None)


def test_feeds_are_the_same_every_time(tmp_path: Path) -> None:
    path = Path(question(tmp_path, "gemm", "fp32").model_path)
    np.testing.assert_array_equal(feeds_of(path)["x"], feeds_of(path)["x"])


@pytest.mark.parametrize("pattern", ["attention_op", "attention_op_masked", "rms_norm"])
def test_operators_of_opset_23_are_computed_as_they_should(pattern: str, tmp_path: Path) -> None:
    verdict = tried(tmp_path, OpenVinoBackend({}), pattern, "fp16")
    assert verdict.is_legal
    assert verdict.error is not None
    assert verdict.error < 1e-3


def test_a_mask_keeps_something_of_every_row(tmp_path: Path) -> None:
    mask = feeds_of(Path(question(tmp_path, "attention_op_masked", "fp32").model_path))["mask"]
    assert mask.dtype == np.bool_
    assert mask.any(axis=-1).all()
    assert not mask.all()


def test_what_may_be_negative_is_fed_so_and_what_may_not_is_not(tmp_path: Path) -> None:
    path = Path(question(tmp_path, "gemm", "fp32").model_path)
    assert feeds_of(path, [("x", 0.0, 5.0)])["x"].min() >= 0
    assert feeds_of(path, [("x", -0.5, 5.0)])["x"].min() < 0


@pytest.mark.parametrize("base", ["fp32", "bf16"])
def test_the_exact_model_is_integers_in_fp32(base: str, tmp_path: Path) -> None:
    exact = onnx.shape_inference.infer_shapes(onnx.load(question(tmp_path, "gemm", "int8", base).exact_path))
    kinds = {value.type.tensor_type.elem_type for value in exact.graph.value_info}
    assert onnx.TensorProto.BFLOAT16 not in kinds
    assert onnx.TensorProto.INT8 in kinds
