"""What is fed to a piece must tell: where exact arithmetic does not move, any engine looks right."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import parser

from autoprec.backends.openvino import OpenVinoBackend
from autoprec.legality.pieces import Question
from autoprec.legality.probe import try_question


def resized(path: Path, level: float, asked: str = "") -> Question:
    """A Resize behind a Q/DQ pair; OpenVINO 2026.4.1 computes another function of it."""
    text = f"""<ir_version: 10, opset_import: ["": 21]> g (float[1,3,16,16] x) => (float[1,3,7,7] y) {{
      s = Constant <value_float = {level}> () z = Constant <value = int8 {{0}}> ()
      q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) size = Constant <value_ints = [7, 7]> ()
      [resize] y = Resize <mode = "linear", antialias = 1, axes = [2, 3]> (d, , , size) }}"""
    onnx.save(parser.parse_model(text), path)
    return Question(
        pattern="resize",
        precision="int8",
        model_path=str(path),
        exact_path=str(path),
        asked=asked,
        deciding=("resize",),
        digest="",
    )


@pytest.mark.parametrize(("level", "state"), [(0.05, "wrong"), (50.0, "wrong"), (1e5, "unseen")])
def test_a_wrong_engine_is_seen_unless_the_grid_is_too_coarse_for_all_inputs(
    level: float, state: str, tmp_path: Path
) -> None:
    verdict = try_question(OpenVinoBackend({}), resized(tmp_path / "m.onnx", level))
    assert verdict.state == state
    assert (verdict.is_unfit, verdict.is_legal) == (state == "wrong", state == "unseen")


def test_what_ran_is_told_of_a_piece_whose_results_show_nothing(tmp_path: Path) -> None:
    verdict = try_question(OpenVinoBackend({}), resized(tmp_path / "m.onnx", 1e5, asked="int8"))
    assert (verdict.state, verdict.ran, verdict.is_legal) == ("dequantised", "f32", False)
