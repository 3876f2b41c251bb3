"""Files that workers share through the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec.store import Store, _artifacts
from postgresql_server import PostgresqlServer


def test_a_file_comes_to_another_host_as_it_was(
    tmp_path: Path, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_artifacts, "PART_BYTES", 100)
    here, there = tmp_path / "here" / "a.npz", tmp_path / "there" / "a.npz"
    here.parent.mkdir()
    here.write_bytes(bytes(range(256)) * 3)
    with Store.open(server.new_database()) as store:
        shared = store.artifacts("demo")
        assert not shared.fetch(there)
        shared.put(here)
        here.write_bytes(b"another")
        shared.put(here)
        assert shared.fetch(there)
        assert there.read_bytes() == bytes(range(256)) * 3
        assert [path.name for path in there.parent.iterdir()] == ["a.npz"]
        assert not store.artifacts("another").fetch(tmp_path / "elsewhere" / "a.npz")


def test_a_large_file_and_a_study_of_one_host_share_nothing(
    tmp_path: Path, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"12345")
    monkeypatch.setattr(_artifacts, "LIMIT_BYTES", 4)
    with Store.open(server.new_database()) as store:
        store.artifacts("demo").put(path)
        assert not store.artifacts("demo").fetch(tmp_path / "b" / "a.npz")
    with Store.open(tmp_path / "study.db") as store:
        store.artifacts("demo").put(path)
        assert not store.artifacts("demo").fetch(tmp_path / "b" / "a.npz")
