"""Definitions that are none: one line, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoprec.errors import SpecError
from autoprec.spec import load_spec
from autoprec.study.definition import make_default
from tiny_study import DEFINITION, write_study


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 10_000 + "]" * 10_000,
        "a = " + "{a=" * 3000 + "1" + "}" * 3000,
        "a = " + "9" * 10_000,
        ".".join(["a"] * 100_000) + " = 1",
        "[" + ".".join(['"a b"'] * 100_000) + "]",
        "\n".join("[" + ".".join(["a"] * 300) + f".b{n}]" for n in range(300)),
        'name = "' + "x" * 300_000 + '"',
    ],
    ids=["arrays", "tables", "digits", "keys", "headers", "many headers", "long"],
)
def test_what_would_need_minutes_or_the_stack_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "evil.toml").write_text(text)
    with pytest.raises(SpecError, match=r"nested too deeply|cannot be read as TOML|too large"):
        load_spec(tmp_path / "evil.toml")


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("[quality]\nthreshold = nan", "quality.threshold"),
        ("[backend]\ntrial_seconds = inf", "backend.trial_seconds"),
        ("[blocks]\nmaximum = 99999999999999999999", "blocks.maximum"),
        ("[model.shapes]\nimage = [1, 3, 36893488147419103232, 1]", "model.shapes.image.2"),
        ("[backend.options]\nthreads = -inf", "backend.options.threads"),
    ],
)
def test_numbers_that_no_setting_can_be_are_named(more: str, key: str, tmp_path: Path) -> None:
    text = DEFINITION.replace("[blocks]\nminimum = 1\n", "").replace("[model]\npath", "model.path", 1)
    (tmp_path / "evil.toml").write_text(f"{text}\n{more}\n")
    with pytest.raises(SpecError, match=f"the number at `{key}` is infinite, NaN or too large"):
        load_spec(tmp_path / "evil.toml")


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('folder = "a\\u0000b"', "folder"),
        ('storage = "sqlite:///a\\u0000b.db"', "storage"),
        ('search.precisions = ["fp32", "a\\u0000b"]', "search.precisions.1"),
    ],
)
def test_text_that_the_system_would_cut_short_is_named(more: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "evil.toml").write_text(f"{more}\n")
    with pytest.raises(SpecError, match=f"the text at `{key}` contains a NUL"):
        load_spec(tmp_path / "evil.toml")


def test_a_pipe_is_no_definition(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "evil.toml")
    with pytest.raises(SpecError, match="is not a regular file"):
        load_spec(tmp_path / "evil.toml")


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        ("calibration", "calibration"),
        ("evaluation/a", "evaluation"),
        ("link/a", "evaluation"),
    ],
)
def test_a_study_in_its_own_samples_is_refused(folder: str, key: str, tmp_path: Path) -> None:
    path = write_study(tmp_path)
    (tmp_path / "link").symlink_to("evaluation")
    path.write_text(f'folder = "{folder}"\n' + path.read_text())
    with pytest.raises(SpecError, match=rf"lies in samples\.{key} .*name another `folder`"):
        load_spec(path)


def test_a_study_that_was_begun_in_its_own_samples_still_opens(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text('folder = "evaluation/a"\n' + path.read_text())
    (tmp_path / "evaluation/a").mkdir()
    (tmp_path / "evaluation/a/study.db").touch()
    assert load_spec(path).folder.endswith("evaluation/a")


def test_samples_may_lie_in_the_study_s_folder(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text('folder = "."\n' + path.read_text())
    assert load_spec(path).folder == str(tmp_path)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "studies").glob("*.toml")), ids=lambda path: path.stem
)
def test_definitions_of_this_repository_are_sound(path: Path) -> None:
    assert load_spec(path).name == path.stem


def test_a_definition_may_begin_with_a_mark_of_utf_8(tmp_path: Path) -> None:
    path, other = write_study(tmp_path), tmp_path / "other.toml"
    text = f"default = true\n{path.read_text()}"
    for each in (path, other):
        each.write_text(text, "utf-8-sig")
    assert make_default(path) == (other,)
    assert load_spec(path).default
    assert not load_spec(other).default
