"""A study begins with the original model, and goes no further where something else is computed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from autoprec import Study
from autoprec.cli import app
from autoprec.errors import StudyError
from autoprec.records import Departure
from autoprec.report import page
from autoprec.store import Store
from autoprec.study.diagnosis import compare
from autoprec.study.events import Quiet
from autoprec.study.preparation import fidelity
from autoprec.study.preparation.fidelity import departures
from tiny_study import write_study


class Lines(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def stored(study: Study) -> tuple[Departure, ...]:
    with Store.open(study.database, read_only=True) as store:
        return departures(store, study.spec.name)


def normalise(path: Path) -> None:
    """Put an LRN of an even size before the masks, which OpenVINO 2026.4.1 centres in another way."""
    model = onnx.load(path)
    graph = model.graph
    graph.node[-1].output[0] = "raw"
    graph.node.append(helper.make_node("LRN", ["raw"], ["masks"], "normalise", size=2, alpha=2.0))
    onnx.save(model, path)


def quantise(path: Path, zero: onnx.TensorProto | None = None) -> None:
    """Put a Q/DQ pair, whose grid begins at 0 unless `zero` is another, in the place of each ReLU."""
    model = onnx.load(path)
    graph, nodes = model.graph, list(model.graph.node)
    graph.initializer.append(numpy_helper.from_array(np.float32(0.05), "scale"))
    graph.initializer.append(zero or numpy_helper.from_array(np.uint8(0), "zero"))
    model.opset_import[0].version = max(19, model.opset_import[0].version)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "Relu":
            graph.node.append(node)
            continue
        levels, output = f"{node.output[0]}.levels", node.output[0]
        for op, read, written in (("Quantize", node.input[0], levels), ("Dequantize", levels, output)):
            graph.node.append(helper.make_node(f"{op}Linear", [read, "scale", "zero"], [written]))
    onnx.save(model, path)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.load(write_study(tmp_path_factory.mktemp("searched")))
    study.search("1")
    return study


def test_every_step_is_compared_once_and_kept(searched: Study) -> None:
    assert [(one.step, one.is_beyond, one.loss) for one in stored(searched)] == [
        ("loading", False, 0),
        ("engine", False, 0),
        ("reference", False, 0),
    ]
    again = Lines()
    searched.search("1", again)
    assert not any("original" in line for line in again.lines)


def test_what_an_earlier_judge_found_is_judged_again(
    searched: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines()
    searched.search("1", lines)
    assert not [line for line in lines.lines if line.startswith("comparing with")]
    monkeypatch.setattr(fidelity, "JUDGED", -1)
    searched.search("1", lines)
    assert [line for line in lines.lines if line.startswith("comparing with")]


def test_a_quantised_model_is_compared_with_its_pairs_too(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    quantise(tmp_path / "tiny.onnx")
    steps = {one.step: one for one in compare(study.spec)}
    assert list(steps) == ["loading", "given", "engine", "reference"]
    assert not any(one.is_beyond for one in steps.values())
    assert (steps["loading"].error, steps["given"].error) == (0, 0)


def test_pairs_that_no_block_may_have_here_are_compared_too(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    quantise(tmp_path / "tiny.onnx")
    search = msgspec.structs.replace(study.spec.search, precisions=("fp32", "bf16"))
    steps = compare(msgspec.structs.replace(study.spec, search=search))
    assert [one.step for one in steps] == ["loading", "given", "engine", "reference"]


def test_a_model_in_fp8_is_compared_as_it_came(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    quantise(tmp_path / "tiny.onnx", helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    steps = {one.step: one for one in compare(study.spec)}
    assert not steps["given"].missing
    assert steps["given"].error == 0


def test_a_study_whose_engine_departs_stops_and_names_the_node(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    normalise(tmp_path / "tiny.onnx")
    with pytest.raises(StudyError, match=r"the engine \(openvino\) in FP32 .*'normalise' \(LRN\)") as stop:
        study.search("1")
    assert "\n" not in str(stop.value)
    with pytest.raises(StudyError, match="normalise"):  # from what is kept
        study.search("1")


def test_a_departure_may_be_accepted_knowingly(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    normalise(tmp_path / "tiny.onnx")
    path.write_text(path.read_text().replace("[model]", '[model]\ndeparture = "tell"'))
    study, said = Study.load(path), Lines()
    study.search("1", said)
    assert any(line.startswith("accepted: the engine") for line in said.lines)
    assert [one.step for one in stored(study) if one.is_beyond] == ["engine", "reference"]


@pytest.mark.slow
def test_doctor_compares_a_study_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    normalise(tmp_path / "tiny.onnx")
    ran = CliRunner().invoke(app, ["doctor", "--study", str(path)])
    assert ran.exit_code == 2
    assert "'normalise' (LRN)" in " ".join(ran.output.split())
    assert not Study.load(path).folder.exists()


def test_a_trial_and_the_report_show_what_the_study_was_compared_with(searched: Study) -> None:
    ran = CliRunner().invoke(app, ["show", "0", "--study", str(searched.folder.with_suffix(".toml"))])
    assert "compared with the original model (ONNX Runtime" in " ".join(ran.output.split())
    assert "original model (ONNX Runtime" in page(searched.findings(runs=False))
