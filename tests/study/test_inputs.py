"""A study is bound to its inputs: what does not fit is refused, what only moved is found again."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from autoprec import Study
from autoprec.errors import StudyError, UserError
from autoprec.store import exclusive
from autoprec.study.events import Quiet
from tiny_study import write_model, write_samples, write_searched, write_study


class Said(Quiet):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.parametrize(
    "changed",
    ["model", *(pytest.param(other, marks=pytest.mark.slow) for other in ("samples", "definition"))],
)
def test_going_on_with_other_inputs_is_refused_and_loses_nothing(tmp_path: Path, changed: str) -> None:
    path = write_searched(tmp_path)
    if changed == "model":
        write_model(tmp_path / "tiny.onnx", seed=9)
    elif changed == "samples":
        write_samples(tmp_path / "evaluation", count=5, seed=3)
    else:
        path.write_text(path.read_text() + "[quality]\nthreshold = 0.5\n")
    told = Said()
    with pytest.raises(StudyError, match=changed):
        Study.load(path).search("2", told)
    assert not any(line.startswith("calibrating") for line in told.lines)
    assert len(Study.load(path).trials()) == 5


def test_two_searches_of_one_study_at_a_time_are_refused(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    study.folder.mkdir()
    with exclusive(study.folder), pytest.raises(StudyError, match=str(os.getpid())):
        study.search("1")


def test_values_beyond_fp16_are_found_before_anything_is_searched(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    write_model(tmp_path / "tiny.onnx", scale=1e6)
    path.write_text(path.read_text().replace("[search]", '[search]\nreference = "fp16"'))
    with pytest.raises(StudyError, match="fp16-safe"):
        Study.load(path).search("2")
    path.write_text(path.read_text().replace('"fp16"', '"fp16-safe"'))
    Study.load(path).search("1")
    allowed = Study.load(path).stored_blocks()[0].allowed
    assert ("fp16" in allowed, "fp32" in allowed) == (False, True)


def test_reading_a_study_that_was_never_searched_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="autoprec search --study tiny"):
        Study.load(write_study(tmp_path)).front()


def test_a_finished_night_leaves_nothing_to_run_for_the_report(tmp_path: Path) -> None:
    study = Study.load(write_searched(tmp_path))
    said: list[str] = []
    findings = study.findings(say=said.append)
    assert findings.inspections.keys() == {trial.number for trial in study.front()}
    assert findings.usual is not None
    assert not said


def test_how_long_is_timed_and_what_departs_may_change_between_nights(tmp_path: Path) -> None:
    spec = Study.load(write_study(tmp_path)).spec
    model = msgspec.structs.replace(spec.model, departure="tell")
    timing = msgspec.structs.replace(spec.timing, seconds=9.0)
    assert msgspec.structs.replace(spec, model=model, timing=timing).digest == spec.digest
    shapes = msgspec.structs.replace(spec.model, shapes={"image": (1, 3, 64, 64)})
    assert msgspec.structs.replace(spec, model=shapes).digest != spec.digest


def test_a_study_may_be_moved_with_its_folder(tmp_path: Path) -> None:
    moved = Study.load(write_searched(tmp_path))  # searched in another folder
    moved.search("1")
    assert len(moved.trials()) == 6
