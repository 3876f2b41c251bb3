"""Variants of precisions are choices like any other."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from autoprec import Study
from autoprec.errors import SpecError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.legality.judge import judge
from autoprec.precisions import PRECISIONS
from mbconv import error, images, outputs, toolbox, uniform, write_mbconv
from tiny_study import write_model, write_study

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "extending.md"


def test_names_say_what_a_variant_does() -> None:
    for name, precision in PRECISIONS.items():
        assert precision.name == name
        assert precision.plain in PRECISIONS
        parts = set(name.split("+")[1:])
        assert ("smooth" in parts, "adaround" in parts, "bias" in parts) == (
            "smoothing" in precision.passes, precision.learns_rounding, precision.corrects_bias,
        )  # fmt: skip
        ops = PRECISIONS[precision.plain].quantized_ops
        assert ("Conv" in precision.quantized_ops) == ("Conv" in ops and "gemm" not in parts)
        assert ("Add" in precision.quantized_ops) == ("Add" in ops and not {"float-add", "gemm"} & parts)


def test_variants_of_int8_give_a_valid_model_near_the_float_one(tmp_path: Path) -> None:
    """All of up to two parts, and every eighth of the longer ones."""
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    rewriter, feeds = Rewriter(model, blocks, box, base="fp32"), images(1)
    wanted = outputs(model, feeds)
    names = [name for name, precision in PRECISIONS.items() if precision.plain == "int8"]
    few = [name for name in names if name.count("+") <= 2]
    for name in {*few, *names[::8]}:
        output = error(outputs(rewriter.rewrite(uniform(blocks, name)), feeds), wanted)
        assert output < (0.2 if "+smooth" in name else 0.6), name


def test_an_unknown_variant_is_refused_with_the_parts_that_there_are(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("[search]", '[search]\nprecisions = ["fp32", "int8+smoth"]'))
    with pytest.raises(SpecError, match=r"int8\+smoth.*\+smooth"):
        Study.load(path)


def test_a_variant_that_is_the_same_as_another_in_a_block_is_refused_there(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "tiny.onnx"))
    names = ("fp32", "int8", "int8+smooth", "int8+float-add", "int8+p99.9+float-add")
    for block in judge(partition(model, minimum=1), model, names):
        # Without an Add, leaving it in floats is nothing; but what has no simpler name in the list stays.
        assert block.allowed == ("fp32", "int8", "int8+smooth", "int8+p99.9+float-add")
        assert dict(block.refused) == {"int8+float-add": "is the same as int8 here"}


@pytest.mark.slow
def test_a_search_takes_variants_everywhere(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(
        path.read_text().replace("[search]", '[search]\nprecisions = ["fp32", "fp16", "int8+p99.9+smooth"]')
    )
    study = Study.load(path)
    study.search("4")
    labels = [trial.label for trial in study.trials()]
    assert "all-int8+p99.9+smooth" in labels
    trial = study.trials()[labels.index("all-int8+p99.9+smooth")]
    assert trial.measurement is not None
    assert all(row.matches for row in trial.measurement.audit)
    assert study.export(tmp_path / "out", trial=trial.number)


def test_the_cure_of_the_guide_clips_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(\"\"\"Weights clipped.*?)```", GUIDE.read_text(), re.DOTALL)[0]
    (tmp_path / "clipping.py").write_text(code)
    cure = SimpleNamespace(**runpy.run_path(str(tmp_path / "clipping.py")))
    monkeypatch.setitem(sys.modules, "autoprec.graph.variants.clipping", cure)
    model, blocks, box = toolbox(write_mbconv(tmp_path / "model.onnx"))
    edits = box.edits(blocks[0].name, replace(PRECISIONS["int8"], name="int8+clip", passes=("clipping",)))
    assert edits is not None
    before = {str(node.name): node.inputs[1] for node in model.graph if node.op_type == "Conv"}
    assert {name for name, _ in edits.constants} == set(before)
    for (name, _), tensor in edits.constants.items():
        weights = before[name].const_value.numpy()  # type: ignore[union-attr]
        assert abs(tensor.numpy()).max() <= 4.0001 * weights.std()
