"""Listing trials and studies, taking trials to other tools, and deleting what was measured."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import msgspec
import optuna
import pytest

from autoprec import Study
from autoprec.precisions import PRECISIONS
from autoprec.store import Store, exclusive
from autoprec.study.overview.clearing import clear
from autoprec.study.overview.listing import list_studies
from command_line import autoprec
from tiny_study import write_searched, write_study
from trial_records import BLOCKS, IDENTITY, complete


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_searched(folder / "studies")
    return folder


def listed(folder: Path, *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(autoprec("trials", "--csv", *words, folder=folder).stdout)))


def test_trials_are_filtered_and_sorted(searched: Path) -> None:
    everything = listed(searched)
    assert [row["number"] for row in everything] == ["0", "1", "2", "3", "4"]
    assert {row["origin"] for row in listed(searched, "--origin", "anchor")} == {"anchor"}
    good = listed(searched, "--max-loss", "0.005", "--state", "complete")
    assert 0 < len(good) < 5
    assert all(float(row["loss"]) <= 0.005 for row in good)
    times = [float(row["latency_ms"]) for row in listed(searched, "--sort", "latency", "-n", "3")]
    assert len(times) == 3
    assert times == sorted(times)
    wanted = listed(searched, "--block", "a*=int8")
    assert wanted
    assert all(row["block.a"] == "int8" for row in wanted)
    assert len(listed(searched, "--min-speedup", "1e9")) == 0
    told = autoprec("trials", "--block", "nosuch.*=int8", folder=searched)
    assert (told.returncode, "no block is called 'nosuch.*'" in told.stderr) == (2, True)


def test_blocks_are_as_the_engine_has_judged_them_until_the_definition_changes(searched: Path) -> None:
    words = "runs as fp32 here"
    assert words in autoprec("blocks", folder=searched).stdout
    path = searched / "studies" / "tiny.toml"
    before = path.read_text()
    path.write_text(before.replace("minimum = 1", "minimum = 2"))
    try:
        assert words not in autoprec("blocks", folder=searched).stdout
    finally:
        path.write_text(before)


def test_trials_are_written_for_other_tools(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("t.csv", "t.json"):
        assert autoprec("trials", "-o", name, folder=searched).stdout == f"{name}\n"
    assert (searched / "t.csv").read_text().count("\n") == 6
    assert len(json.loads((searched / "t.json").read_text())) == 5
    wrong = autoprec("trials", "-o", "t.xlsx", folder=searched)
    assert wrong.returncode == 2
    assert "ends in .csv, .parquet or .json" in wrong.stderr


def test_parquet_reads_back(searched: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert autoprec("trials", "-o", "t.parquet", folder=searched).returncode == 0
    table = parquet.read_table(searched / "t.parquet")
    assert table.column("number").to_pylist() == list(range(5))
    assert str(table.schema.field("start").type).startswith("timestamp")
    assert set(table.column("block.a").to_pylist()) <= set(PRECISIONS)


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
def test_without_its_packages_parquet_says_what_to_install(
    searched: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    told = autoprec("trials", "-o", "t.parquet", folder=searched)
    assert told.returncode == 2
    assert told.stderr.count("\n") == 2  # the first names the study
    assert re.search(rf"autoprec: .*{missing}.* `pip install '\.\[tables\]'`", told.stderr)


def test_studies_say_how_far_they_are(searched: Path) -> None:
    (searched / "studies" / "fresh.toml").write_text((searched / "studies" / "tiny.toml").read_text())
    (searched / "studies" / "broken.toml").write_text("[model")
    told = {one["name"]: one for one in json.loads(autoprec("studies", "--json", folder=searched).stdout)}
    assert told["tiny"]["trials"] == 5
    assert told["fresh"]["state"] == "not searched yet"
    assert [told["fresh"][figure] for figure in ("trials", "front", "nights", "speedup")] == [0, 0, 0, None]
    assert "TOML" in told["broken"]["state"]
    with exclusive(searched / "studies" / "tiny"):
        assert {one.name: one.state for one in list_studies(searched / "studies")}["tiny"] == "being searched"
    text = autoprec("studies", folder=searched).stdout
    assert all(name in text for name in ("tiny", "fresh", "broken"))
    for name in ("fresh", "broken"):
        (searched / "studies" / f"{name}.toml").unlink()


def test_a_deleted_study_can_be_searched_anew_and_keeps_what_is_the_users(tmp_path: Path) -> None:
    home = tmp_path / "tiny"  # the study writes where the model is
    home.mkdir()
    path = write_study(tmp_path)
    (tmp_path / "tiny.onnx").rename(home / "tiny.onnx")
    path.write_text(path.read_text().replace('"tiny.onnx"', '"tiny/tiny.onnx"'))
    before = {file.name for file in home.iterdir()}
    Study.load(path).search("1")
    (home / "early").mkdir()  # of a search that was killed while it measured its reference
    (home / "early" / "reference.onnx").write_bytes(b"")
    with exclusive(home):
        assert "being searched" in autoprec("delete", "tiny.toml", "--yes", folder=tmp_path).stderr
    told = autoprec("delete", "tiny.toml", "--yes", folder=tmp_path)
    assert told.stdout.startswith("deleted 1 trials of tiny, ")
    assert {file.name for file in home.iterdir()} == before
    assert Study.load(path).search("1")


def test_a_sample_folder_is_never_deleted(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    spec = Study.load(path).spec
    (tmp_path / "tiny").mkdir()
    with Store.open(tmp_path / "tiny" / "study.db"):
        pass
    (tmp_path / "tiny" / "calibration").mkdir()
    samples = msgspec.structs.replace(spec.samples, calibration=str(tmp_path / "tiny" / "calibration"))
    clear(msgspec.structs.replace(spec, samples=samples))
    assert (tmp_path / "tiny" / "calibration").is_dir()
    assert not (tmp_path / "tiny" / "study.db").exists()


def test_deleting_asks_first(searched: Path) -> None:
    told = autoprec("delete", "tiny", folder=searched)
    assert told.returncode != 0
    assert len(listed(searched)) == 5


def test_a_study_in_a_shared_database_goes_alone(where: Path | str) -> None:
    with Store.open(where) as store:
        for name in ("demo", "other"):
            store.bind(name, IDENTITY, BLOCKS)
        store.finish(complete(0, 5.0, 0.01))
        storage = store.optuna()
        for name in ("demo", "other"):
            optuna.create_study(storage=storage, study_name=name, directions=["minimize", "minimize"])
        store.remove("demo")
        assert store.studies() == ("other",)
        assert store.trials("demo") == ()
        assert [summary.study_name for summary in optuna.get_all_study_summaries(storage)] == ["other"]
