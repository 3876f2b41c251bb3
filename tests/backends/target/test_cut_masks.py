"""Masks come from a target as bits: a slow line carries what is scored, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprec import Study
from autoprec.backends import create_backend, run
from autoprec.backends.target import TargetBackend
from autoprec.backends.target.engine import TargetEngine
from autoprec.errors import TrialError
from tiny_study import write_model, write_study

from .test_hostile_agent import FEEDS as ZEROS
from .test_hostile_agent import lying
from .test_target import FEEDS, local


def searched(folder: Path, more: str) -> Study:
    folder.mkdir()
    told = f'\n[target]\naddress = "local:"\nfolder = "{folder}/there"\n{more}'
    study = Study.load(write_study(folder, told))
    assert study.search("3")
    return study


@pytest.mark.parametrize("above", [0.0, 0.3, -1.0])
def test_a_cut_mask_is_that_of_the_values(tmp_path: Path, above: float) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    with local(tmp_path / "a").build(model) as engine:
        assert isinstance(engine, TargetEngine)
        masks = engine.cut(FEEDS, "masks", above)
        np.testing.assert_array_equal(masks, run(engine, FEEDS)["masks"] > above)
        assert 0 < masks.mean() < 1


@pytest.mark.slow
def test_a_loss_by_bits_is_that_by_values(tmp_path: Path) -> None:
    records = [
        searched(tmp_path / name, more).trials() for name, more in (("a", ""), ("b", "logits = true\n"))
    ]
    for cut, whole in zip(*records, strict=True):
        assert cut.assignment == whole.assignment
        ours, theirs = (trial.measurement.quality for trial in (cut, whole) if trial.measurement)
        assert (ours.loss, ours.boundary_iou) == (theirs.loss, theirs.boundary_iou)
        assert ours.logit_error is None
        assert theirs.logit_error is not None


def test_numbers_that_are_none_are_told_of_a_cut_mask(tmp_path: Path) -> None:
    cut = {"answer": {"shape": [1, 2, 32, 32], "strange": 3}, "blobs": [256]}
    with pytest.raises(TrialError, match="NaN") as told:
        cut_by(tmp_path, lying(tmp_path, run=cut))
    assert told.value.kind == "nan"


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        ({"shape": [1, 2, 32, 32], "strange": 0}, 255),
        ({"shape": [1, 2, 32, 32], "strange": 0}, 1 << 20),
        ({"shape": [1, 2, 16, 64], "strange": 0}, 256),
        ({"shape": [1, 2, 32, 1 << 60], "strange": 0}, 256),
        ({"shape": [1, 2, 32, 1 << 39], "strange": 0}, 256),
        ({"shape": [-1], "strange": 0}, 256),
        ({"shape": "masks", "strange": 0}, 256),
        ({}, 256),
    ],
)
def test_masks_that_are_none_fail_the_trial(tmp_path: Path, answer: dict[str, Any], size: int) -> None:
    with pytest.raises(TrialError, match=r"no masks|and the model's is|more than it was asked for"):
        cut_by(tmp_path, lying(tmp_path, run={"answer": answer, "blobs": [size]}))


def cut_by(folder: Path, backend: TargetBackend) -> None:
    with backend.build(write_model(folder / "tiny.onnx")) as engine:
        assert isinstance(engine, TargetEngine)
        engine.cut(ZEROS, "masks", 0.0)


def test_an_engine_here_sends_nothing(tmp_path: Path) -> None:
    with create_backend("openvino", {}).build(write_model(tmp_path / "tiny.onnx")) as engine:
        assert not hasattr(engine, "cut")
