"""What is kept from night to night is believed only if it is whole, and of the same things."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from autoprec.errors import StudyError
from autoprec.kept import keep, load


@pytest.fixture
def path(tmp_path: Path) -> Path:
    keep(tmp_path / "kept" / "file", "letters 1", "model engine", lambda file: file.write(b"content"))
    return tmp_path / "kept" / "file"


def read(path: Path, kind: str = "letters 1", of: str = "model engine") -> tuple[bytes | None, list[str]]:
    said: list[str] = []
    return load(path, kind, of, lambda file: file.read(), said.append), said


def test_what_was_kept_comes_back_and_nothing_else_lies_beside_it(path: Path) -> None:
    assert read(path) == (b"content", [])
    assert list(path.parent.iterdir()) == [path]
    assert read(path.with_name("never")) == (None, [])


def test_every_flipped_bit_is_told(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        content, said = read(path)
        assert content is None
        assert len(said) == 1
        assert said[0].endswith("it is rebuilt")


@pytest.mark.parametrize("size", [0, 1, 60, -1])
def test_a_file_that_is_cut_short_is_told(size: int, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:size])
    assert read(path)[0] is None


def test_what_is_of_something_else_is_told(path: Path) -> None:
    other = "belongs to another model, other samples or another engine"
    assert read(path, of="model driver") == (None, [f"file {other}: it is rebuilt"])
    assert read(path, kind="letters 2") == (
        None,
        ["file was written by another version of autoprec: it is rebuilt"],
    )


def test_a_reader_that_does_not_understand_it_is_no_crash(path: Path) -> None:
    said: list[str] = []
    assert load(path, "letters 1", "model engine", lambda file: int(file.read()), said.append) is None
    assert said == ["file cannot be read (ValueError): it is rebuilt"]


def test_what_cannot_be_read_is_the_users_to_mend(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    with pytest.raises(StudyError, match=r"file: cannot be read \(is not a regular file\); make it readable"):
        read(path)


def test_a_write_that_fails_leaves_the_old_one(path: Path) -> None:
    def fail(_: object) -> None:
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"):
        keep(path, "letters 1", "model engine", fail)
    assert read(path) == (b"content", [])
    assert list(path.parent.iterdir()) == [path]
