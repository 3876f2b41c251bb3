"""A study goes on scoring as it was begun; what would spoil it is said first."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec import Study
from autoprec.errors import SamplesError, StudyError, UserError
from autoprec.store import Store
from autoprec.study.preparation.fidelity import Fidelity
from tiny_study import write_study

BEFORE = "[quality]\nsmall_mask = 0.0\n"
"""The rule of earlier versions, whose digest says nothing of it."""


@pytest.mark.slow
def test_a_study_from_before_small_masks_counted_less_goes_on_without_that(tmp_path: Path) -> None:
    path = write_study(tmp_path, BEFORE)
    Study.load(path).search("1")
    path.write_text(path.read_text().replace(BEFORE, ""))
    again = Study.load(path)
    assert again.spec.quality.small_share == 0
    again.search("1")
    assert len(again.trials()) == 2


@pytest.mark.slow
def test_a_new_study_counts_small_masks_less(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    Study.load(path).search("1")
    again = Study.load(path)
    assert again.spec.quality.small_share > 0
    again.search("1")
    assert len(again.trials()) == 2


def test_a_sample_that_cannot_be_scored_is_refused_before_the_calibration(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    (tmp_path / "evaluation" / "0.npz").write_bytes(b"PK broken")
    with pytest.raises(SamplesError, match=r"0\.npz: cannot be read"):
        Study.load(path).search("1")
    assert not (tmp_path / "tiny" / "calibration").exists()


def test_masks_without_an_edge_are_refused_before_the_first_trial(tmp_path: Path) -> None:
    path = write_study(tmp_path, "[quality]\nthreshold = 1e6\n")
    with pytest.raises(UserError, match="are empty at quality"):
        Study.load(path).search("1")
    assert Study.load(path).trials() == ()


@pytest.mark.parametrize("jobs", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_reference_that_is_another_function_binds_no_study(
    tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def departs(*_: object) -> None:
        raise StudyError("another function")

    path = write_study(tmp_path)
    monkeypatch.setattr(Fidelity, "check_reference", departs)
    with pytest.raises(StudyError, match="another function"):
        Study.load(path).search("1", jobs=jobs)
    with Store.open(Study.load(path).database) as store:
        assert store.studies() == ()


@pytest.mark.slow
def test_a_requeued_slurm_job_has_no_second_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.load(write_study(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    study.search(3)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    study.search(3)
    assert len(study.trials()) == 3
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "9")  # another job is another night
    study.search(3)
    assert len(study.trials()) > 3
