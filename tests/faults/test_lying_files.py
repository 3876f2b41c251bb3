"""Files that are links, pipes, or claim more than a disk has: never waited for, never read to their end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

import tiny_study
from autoprec.errors import ModelError, SamplesError, StudyError
from autoprec.exporters import read_manifest, write_export
from autoprec.files import not_following, own_folder, replacing
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model
from autoprec.report import write_file
from autoprec.samples._prompts import read_prompts
from autoprec.study import verify_export
from autoprec.study.definition import make_default
from command_line import autoprec
from tiny_export import export_of


def claim(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def test_a_terabyte_of_nothing_is_too_large(tmp_path: Path) -> None:
    claim(tmp_path / "manifest.json")
    with pytest.raises(StudyError, match="is too large"):
        read_manifest(tmp_path)
    claim(tmp_path / "prompts.json")
    with pytest.raises(SamplesError, match="is too large"):
        read_prompts(tmp_path / "prompts.json", (), ())


def test_a_file_of_another_size_is_not_read(tmp_path: Path) -> None:
    write_export(export_of(tmp_path / "study"), tmp_path / "out")
    claim(tmp_path / "out" / "model.onnx")
    told = verify_export(tmp_path / "out").checks[0].words
    script = [sys.executable, str(tmp_path / "out" / "verify.py")]
    ran = subprocess.run(script, capture_output=True, text=True, check=False)
    assert told == "changed or missing: model.onnx"
    assert told in ran.stdout


def test_a_model_takes_the_place_of_a_link_or_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "reference.onnx").symlink_to(tmp_path / "mine")
    write_model(ir.load(tiny_study.write_model(tmp_path / "tiny.onnx")), tmp_path / "reference.onnx")
    assert (tmp_path / "mine").read_text() == "precious"
    assert not (tmp_path / "reference.onnx").is_symlink()
    os.mkfifo(tmp_path / "pipe.onnx")
    write_model(ir.load(tmp_path / "tiny.onnx"), tmp_path / "pipe.onnx")
    assert (tmp_path / "pipe.onnx").is_file()


def test_a_manifest_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").symlink_to("/etc/passwd")
    with pytest.raises(StudyError, match="is a link"):
        read_manifest(tmp_path)


def test_what_is_appended_to_is_no_pipe_and_no_link(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("target")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match=name), open(tmp_path / name, "ab", opener=not_following):
            pass
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("place", ["a", "a/b"])
def test_a_folder_of_ours_is_made_through_no_link(place: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "a").mkdir()
    link = tmp_path / place
    if link.is_dir():
        link.rmdir()
    link.symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="is a link"):
        own_folder(tmp_path, "a", "b")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_link_with_the_name_of_a_half_written_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / f".new.{os.getpid()}.part").symlink_to(tmp_path / "mine")
    with replacing(tmp_path / "new") as part:
        part.write_text("new")
    assert (tmp_path / "mine").read_text() == "precious"
    assert (tmp_path / "new").read_text() == "new"


@pytest.mark.parametrize("is_link", [False, True])
def test_no_file_takes_the_place_of_a_pipe_or_of_what_a_link_makes_one(is_link: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(StudyError, match=r"is not a regular file\); .* or name another file"):
        write_file(tmp_path / ("link" if is_link else "pipe"), "text")
    assert (tmp_path / "pipe").is_fifo()


def test_no_file_takes_the_place_of_standard_output() -> None:
    with pytest.raises(OSError, match="is not a regular file"), replacing(Path("/dev/stdout")):
        pass


def test_a_pipe_among_definitions_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.toml")
    assert make_default(tiny_study.write_study(tmp_path)) == ()


def test_links_that_go_round_are_deleted_with_the_study(tmp_path: Path) -> None:
    definition = tiny_study.write_searched(tmp_path)
    (link := tmp_path / "tiny" / "reference.onnx").unlink(missing_ok=True)
    link.symlink_to("reference.onnx")
    assert autoprec("delete", str(definition), "--yes", folder=tmp_path).returncode == 0
    assert not link.is_symlink()


def test_external_data_that_is_a_link_that_goes_round_is_missing(tmp_path: Path) -> None:
    path = tiny_study.write_model(tmp_path / "tiny.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    (tmp_path / "weights").unlink()
    (tmp_path / "weights").symlink_to("weights")
    with pytest.raises(ModelError, match="its external data 'weights' is missing"):
        load_model(path)
