"""What was seen of a trial is shown again only as it was drawn, and only from the study's own folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autoprec.spec import load_spec
from autoprec.store import Store
from autoprec.study.findings.inspections import Inspections
from tiny_study import write_searched


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspections")
    write_searched(folder)
    return folder


def stored(folder: Path) -> tuple[int, list[Path], list[str]]:
    """How many front points are known, the pictures of them, and what was said."""
    said: list[str] = []
    spec = load_spec(folder / "tiny.toml")
    with Store.open(folder / "tiny" / "study.db", read_only=True) as store:
        front, identity = store.front("tiny"), store.identity("tiny")
    inspections, _ = Inspections(spec, identity, said.append).stored(front)
    return len(inspections), [Path(p.candidate) for seen in inspections.values() for p in seen.pictures], said


def test_a_study_that_was_moved_shows_its_own_pictures(searched: Path, tmp_path: Path) -> None:
    shutil.copytree(searched, tmp_path / "moved")
    count, pictures, said = stored(tmp_path / "moved")
    assert count
    assert pictures
    assert said == []
    assert all(path.is_relative_to(tmp_path / "moved") and path.is_file() for path in pictures)


@pytest.mark.parametrize("kind", ["*.webp", "inspection.json"])
def test_a_changed_picture_or_figure_is_looked_into_again(kind: str, searched: Path, tmp_path: Path) -> None:
    shutil.copytree(searched, tmp_path / "copy")
    count, _, _ = stored(tmp_path / "copy")
    for path in (tmp_path / "copy" / "tiny" / "inspections").rglob(kind):
        path.write_bytes(path.read_bytes().replace(b"e", b"f", 1) + b"\n")
    left, _, said = stored(tmp_path / "copy")
    assert count
    assert left == 0
    assert all(line.endswith("it is rebuilt") for line in said)
    assert said
