"""Links, pipes and folders under every name of a study: none is followed, none is waited for."""

from __future__ import annotations

import faulthandler
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from worker_here import WorkerHere

from command_line import autoprec
from tiny_study import timed_for, write_study

pytestmark = pytest.mark.slow

STUDY = ("--study", "tiny.toml")
SEARCH, REPORT = ("search", *STUDY, "--budget", "1"), ("report", *STUDY)
EXPORT = ("export", *STUDY, "--trial", "0", "out", "--examples", "0")
READING = (("front", *STUDY), ("trials", *STUDY, "-o", "tiny/trials.csv"), ("doctor", *STUDY, "--repair"))
DELETE = ("delete", "tiny.toml", "--yes")
AT_TIMES = (
    ".report.html.1.part", "candidate.onnx", "early", "engines", "fidelity", "reference.onnx.data", "refined",
    "study.db-journal", "timing.cache", "trials.csv", "worker-1.log",
)  # fmt: skip
"""Names that a study has while something runs, or with other engines."""
MINE = {"file": "precious", "below/file": "precious", "below/0.masks": "precious"}
HANG_SECONDS = 120


def link_to_a_file(path: Path, mine: Path) -> None:
    path.symlink_to(mine / "file")


def link_to_nothing(path: Path, mine: Path) -> None:
    path.symlink_to(mine / "nothing")


def link_to_a_folder(path: Path, mine: Path) -> None:
    path.symlink_to(mine / "below")


def folder(path: Path, mine: Path) -> None:
    shutil.copytree(mine, path)


def pipe(path: Path, mine: Path) -> None:
    os.mkfifo(path)


PLANTS = (link_to_a_file, link_to_nothing, link_to_a_folder, folder, pipe)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was searched and looked at."""
    home = tmp_path_factory.mktemp("searched") / "home"
    home.mkdir()
    definition = write_study(home)
    timed_for(definition, 0.02)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autoprec.measurement.bench.WorkerProcess", WorkerHere)
        for words in (SEARCH, REPORT):
            assert autoprec(*words, folder=home).returncode == 0
    return home


def names(home: Path) -> list[str]:
    """All names in a study's folder, one of each kind."""
    listed = sorted(path.relative_to(home / "tiny").as_posix() for path in (home / "tiny").rglob("*"))
    kinds = {re.sub(r"[0-9a-f]{8,}|\d+|\w+(?=\.webp)", "N", name): name for name in listed}
    return [*kinds.values(), *AT_TIMES]


@pytest.mark.parametrize("number", range(len(PLANTS)), ids=lambda number: PLANTS[number].__name__)
def test_what_is_planted_in_a_study_is_neither_followed_nor_waited_for(
    number: int, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprec.measurement.bench.WorkerProcess", WorkerHere)
    monkeypatch.setattr("autoprec.study.diagnosis.PATTERNS", {})
    for place, name in enumerate(names(searched)):
        if place % len(PLANTS) == number:  # each name one of them: all of all would take many minutes
            is_read = name.startswith(("study.db", "search.lock", "trials"))
            commands = (SEARCH, REPORT, EXPORT, *(READING if is_read else ()), DELETE)
            assert faults(name, PLANTS[number], commands, searched, tmp_path / str(place)) == []


def faults(
    name: str,
    plant: Callable[[Path, Path], None],
    commands: Sequence[tuple[str, ...]],
    searched: Path,
    folder: Path,
) -> list[str]:
    """Run commands on a copy of a study, before each of which `name` is planted anew."""
    home, mine = folder / "home", folder / "mine"
    shutil.copytree(searched, home)
    (mine / "below").mkdir(parents=True)
    for own, text in MINE.items():
        (mine / own).write_text(text)
    path, lines = home / "tiny" / name, []
    for command in commands:
        remove(path)
        if path.parent.is_dir():
            plant(path, mine)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        ran = autoprec(*command, folder=home)
        faulthandler.cancel_dump_traceback_later()
        is_told = ran.returncode in (0, 2) and "Traceback" not in ran.stderr
        if not is_told or contents(mine) != MINE:
            lines.append(f"{name}: {' '.join(command)}: {ran.returncode}: {ran.stderr} {contents(mine)}")
    return lines


def contents(mine: Path) -> dict[str, str]:
    return {path.relative_to(mine).as_posix(): path.read_text() for path in mine.rglob("*") if path.is_file()}


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
