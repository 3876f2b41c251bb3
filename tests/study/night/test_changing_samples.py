"""Samples that change while a search uses them: nothing is kept that is of both."""

from pathlib import Path

import pytest

from autoprec import Study
from autoprec.errors import SamplesError, UserError
from autoprec.spec import load_spec
from autoprec.study.preparation.calibrating import calibrate
from autoprec.study.preparation.stages import load
from tiny_study import write_samples, write_searched, write_study


def replace(folder: Path) -> None:
    write_samples(folder, seed=77)


def test_an_evaluation_sample_that_is_replaced_ends_the_search_and_costs_no_trial(tmp_path: Path) -> None:
    study = Study.load(write_searched(tmp_path))
    before = [trial.number for trial in study.trials()]
    with pytest.raises(UserError, match=r"samples.evaluation has changed while it was in use"):
        study.search(4, callbacks=[lambda *_: replace(tmp_path / "evaluation")])
    after = [trial.number for trial in study.trials() if trial.state == "complete"]
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


def test_a_calibration_sample_that_is_replaced_leaves_no_statistics(tmp_path: Path) -> None:
    loaded = load(load_spec(write_study(tmp_path)), print, scores=False)
    with pytest.raises(SamplesError, match=r"samples.calibration has changed while it was in use"):
        calibrate(loaded, lambda words: replace(tmp_path / "calibration"))
    assert list((tmp_path / "tiny" / "calibration").glob("*.npz")) == []


def test_a_sample_that_is_gone_is_named(tmp_path: Path) -> None:
    loaded = load(load_spec(write_study(tmp_path)), print, scores=False)
    (tmp_path / "calibration" / "1.npz").unlink()
    with pytest.raises(SamplesError, match=r"1\.npz"):
        calibrate(loaded, print)
