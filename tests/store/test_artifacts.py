"""Files that workers share through the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec.store import Store, _artifacts
from autoprec.store.dialects.sqlite import SqliteDialect


@pytest.fixture
def shared_place(where: Path | str, monkeypatch: pytest.MonkeyPatch) -> Path | str:
    """A database that several hosts share; the mechanism is the same where the file is SQLite's."""
    monkeypatch.setattr(SqliteDialect, "is_shared", True)
    return where


def test_a_file_comes_to_another_host_as_it_was(
    tmp_path: Path, shared_place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_artifacts, "PART_BYTES", 100)
    here, there = tmp_path / "here" / "a.npz", tmp_path / "deep" / "there" / "a.npz"
    here.parent.mkdir()
    here.write_bytes(bytes(range(256)) * 3)
    with Store.open(shared_place) as store:
        shared = store.artifacts("demo")
        assert not shared.fetch(there)
        shared.put(here)
        here.write_bytes(b"another")
        shared.put(here)
        assert shared.fetch(there)
        assert there.read_bytes() == bytes(range(256)) * 3
        assert [path.name for path in there.parent.iterdir()] == ["a.npz"]
        assert not store.artifacts("another").fetch(tmp_path / "elsewhere" / "a.npz")


def test_a_file_that_is_there_is_not_fetched(tmp_path: Path, shared_place: Path | str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"shared")
    with Store.open(shared_place) as store:
        store.artifacts("demo").put(path)
        path.write_bytes(b"mine")
        assert store.artifacts("demo").fetch(path)
    assert path.read_bytes() == b"mine"


def test_a_large_file_is_not_shared(
    tmp_path: Path, shared_place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, there = tmp_path / "a.npz", tmp_path / "b" / "a.npz"
    path.write_bytes(b"12345")
    with Store.open(shared_place) as store:
        monkeypatch.setattr(_artifacts, "LIMIT_BYTES", 4)
        store.artifacts("demo").put(path)
        assert not store.artifacts("demo").fetch(there)
        monkeypatch.setattr(_artifacts, "LIMIT_BYTES", 5)
        store.artifacts("demo").put(path)
        assert store.artifacts("demo").fetch(there)


def test_a_study_of_one_host_shares_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"12345")
    with Store.open(tmp_path / "study.db") as store:
        store.artifacts("demo").put(path)
        assert not store.artifacts("demo").fetch(tmp_path / "b" / "a.npz")
        assert store.artifacts("demo").fetch(path), "it is there already"
