"""What cannot be written, since the disk is full or files may not grow, is named: room is made there."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from autoprec.errors import StudyError, machine_fault
from autoprec.exporters._folder import replacing
from autoprec.files import naming
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.kept import keep
from autoprec.measurement.masks import ReferenceMasks
from autoprec.records import Assignment
from autoprec.store.dialects.sqlite import SqliteDialect
from tiny_study import write_model as write_tiny


@contextmanager
def short_files() -> Iterator[None]:
    """No file grows beyond 100 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_masks(folder: Path) -> None:
    """More than stays in memory."""
    ReferenceMasks(folder, memory_bytes=0).append("0", np.zeros((1, 64, 64), np.float32))


def write_candidate(folder: Path) -> None:
    """What a search builds, as its rewriter writes it."""
    model = load_model(folder.with_name("tiny.onnx"))
    blocks = partition(model, minimum=1, maximum=1)
    plain = Assignment.uniform(blocks, "fp32", "fp32")
    Rewriter(model, blocks, {}, base="fp32").write(plain, folder / "candidate.onnx")


WRITERS: tuple[Callable[[Path], None], ...] = (
    lambda folder: keep(folder / "kept", "kind", "of", lambda file: file.write(b"0" * 9000)),
    lambda folder: write_model(ir.load(folder.with_name("tiny.onnx")), folder / "model.onnx"),
    write_masks,
    write_candidate,
)


@pytest.mark.parametrize("write", WRITERS)
def test_whatever_is_not_written_whole_is_named(write: Callable[[Path], None], tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.onnx")
    (folder := tmp_path / "out").mkdir()
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EFBIG) as caught, short_files():
        write(folder)
    assert machine_fault(caught.value).startswith(str(folder))


def test_a_name_that_the_system_gave_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path):
        (tmp_path / "missing").read_bytes()
    assert caught.value.filename == str(tmp_path / "missing")


def test_a_copy_names_the_file_that_is_full() -> None:
    copied = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "source", None, "target")
    assert machine_fault(copied).startswith("target: No space left")


def test_standard_output_on_a_full_disk_is_named() -> None:
    words = f"{sys.executable} -m autoprec --help >/dev/full"
    ran = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("autoprec: standard output: No space left on device")


def test_a_mistake_that_standard_error_has_no_room_for_is_still_one() -> None:
    words = f"{sys.executable} -m autoprec --nonsense 2>/dev/full"
    assert subprocess.run(["sh", "-c", words], check=False).returncode == 2


def test_a_working_folder_that_was_deleted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OSError, match="No such file") as caught:
        Path("model.onnx").absolute()
    assert machine_fault(caught.value).startswith("the working folder was deleted")


@pytest.mark.parametrize("is_full", [False, True])
def test_an_error_of_the_disk_is_told_as_a_full_one_where_it_is(
    is_full: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorcode = sqlite3.SQLITE_IOERR
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0 if is_full else 1 << 30))
    told = SqliteDialect(tmp_path / "study.db", read_only=False).reason(failed)
    assert ("the disk is full" in str(told)) == is_full


def test_a_folder_that_is_copied_to_a_full_disk_is_named(tmp_path: Path) -> None:
    words = f"[Errno {errno.ENOSPC}] No space left on device: 'a' -> 'b'"
    with (
        pytest.raises(StudyError, match=r"^b: cannot be exported \(No space.*; free some space"),
        replacing(tmp_path / "out"),
    ):
        raise shutil.Error([("a", "b", words)])
