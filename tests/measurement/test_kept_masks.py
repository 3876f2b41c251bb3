"""The reference's masks are made once for a model, samples and engine: a pass that was cut short goes on."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from autoprec.errors import SamplesError
from autoprec.measurement.masks import ReferenceMasks
from autoprec.measurement.messages import Score, Setup
from autoprec.measurement.workbench import Workbench
from autoprec.spec import load_spec
from autoprec.study.preparation import Prepared, prepare
from tiny_study import write_samples, write_study

COUNT = 6


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    path = write_study(tmp_path)
    write_samples(tmp_path / "evaluation", count=COUNT, seed=2)
    return prepare(load_spec(path))


def loss(setup: Setup, candidate: str) -> float:
    return Workbench(setup).score(Score(setup=setup, candidate_path=candidate, samples=COUNT)).loss


def test_scores_are_the_same_with_masks_that_were_kept(prepared: Prepared) -> None:
    candidate = prepared.rewrite(prepared.uniform("int8"), prepared.folder / "candidate.onnx").model_path
    nowhere = msgspec.structs.replace(prepared.setup, masks_path="")
    assert loss(nowhere, candidate) == loss(prepared.setup, candidate) == loss(prepared.setup, candidate)
    assert loss(nowhere, candidate) > 0


def test_a_pass_that_was_cut_short_goes_on_behind_what_it_kept(prepared: Prepared, tmp_path: Path) -> None:
    setup = msgspec.structs.replace(prepared.setup, samples_digest="")  # else the change is told at once
    Workbench(setup)
    os.truncate(setup.masks_path, Path(setup.masks_path).stat().st_size - 1)
    first = sorted((tmp_path / "evaluation").iterdir())[0]
    first.rename(tmp_path / "away.npz")
    first.write_bytes(b"broken")  # read again, it would end the pass
    bench = Workbench(setup)
    assert list(bench.places.values()) == list(range(COUNT))
    with pytest.raises(SamplesError, match=first.name):
        Workbench(msgspec.structs.replace(setup, masks_path=""))


def test_other_samples_or_another_engine_make_other_masks(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    paths = {prepare(load_spec(path)).setup.masks_path, prepare(load_spec(path)).setup.masks_path}
    assert len(paths) == 1
    write_samples(tmp_path / "evaluation", count=3, seed=7)
    paths.add(prepare(load_spec(path)).setup.masks_path)
    path.write_text(path.read_text() + "\n[backend.options]\nthreads = 2\n")
    paths.add(prepare(load_spec(path)).setup.masks_path)
    assert len(paths) == 3


def test_masks_with_a_damaged_byte_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "reference.masks"
    kept = ReferenceMasks(tmp_path, path)
    kept.append("one", np.zeros((1, 2, 2), np.float32))
    kept.share()
    whole = path.read_bytes()
    for place in range(len(whole)):
        told: list[str] = []
        path.write_bytes(whole[:place] + b"\xe5" + whole[place + 1 :])
        assert ReferenceMasks(tmp_path, path, say=told.append).names == []
        assert len(told) <= 1


def test_a_link_in_the_place_of_masks_is_not_written_to(tmp_path: Path) -> None:
    target, said = tmp_path / "notes.txt", list[str]()
    target.write_text("mine")
    (tmp_path / "a.masks").symlink_to(target)
    masks = ReferenceMasks(tmp_path, tmp_path / "a.masks", say=said.append)
    masks.append("0.png", np.ones((1, 4, 4), np.float32))
    assert target.read_text() == "mine"
    assert "is removed, and they are rebuilt" in said[0]
