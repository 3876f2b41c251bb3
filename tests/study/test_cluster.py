"""A study on a Ray cluster: its files travel, and every node takes part in one database."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import onnx
import pytest

from autoprec import Study
from autoprec.errors import StudyError
from autoprec.spec import load_spec
from autoprec.study.cluster import search_on_ray
from autoprec.study.cluster.parcel import pack, unpack
from postgresql_server import PostgresqlServer
from tiny_study import write_study


def test_a_parcel_brings_model_weights_and_samples_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = write_study(tmp_path / "here")
    model = tmp_path / "here" / "tiny.onnx"
    onnx.save(onnx.load(model), model, save_as_external_data=True, location="tiny.weights", size_threshold=0)
    spec = load_spec(path)
    unpacked = unpack(pack(spec), tmp_path / "there")
    assert unpacked.digest == spec.digest
    assert Path(unpacked.model.path).parent.parent == tmp_path / "there"
    assert onnx.load(unpacked.model.path).SerializeToString() == onnx.load(model).SerializeToString()
    for which in ("calibration", "evaluation"):
        sets = [Path(getattr(one.samples, which)) for one in (spec, unpacked)]
        names = [sorted(file.name for file in folder.iterdir()) for folder in sets]
        assert names[0] == names[1] != []


def test_samples_that_are_code_do_not_travel(tmp_path: Path) -> None:
    spec = load_spec(write_study(tmp_path))
    samples = msgspec.structs.replace(spec.samples, calibration="mine:samples")
    with pytest.raises(StudyError, match="'mine:samples' is code, which does not travel"):
        pack(msgspec.structs.replace(spec, samples=samples))


def test_a_study_in_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="give --storage ADDRESS"):
        search_on_ray(load_spec(write_study(tmp_path)), "5", "local", None, print)


@pytest.fixture
def _quiet_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


@pytest.mark.usefixtures("_quiet_ray")
@pytest.mark.filterwarnings("ignore")
def test_a_search_on_a_cluster_is_in_its_database(tmp_path: Path, server: PostgresqlServer) -> None:
    spec = msgspec.structs.replace(load_spec(write_study(tmp_path)), storage=server.new_database())
    said: list[str] = []
    search_on_ray(spec, "7", "local", 2, said.append)
    trials = Study(spec).trials()
    assert [trial.state for trial in trials] == ["complete"] * 7
    assert max(Counter(trial.assignment.digest for trial in trials).values()) == 1
    assert said[-1] == "a search has ended"
