"""Candidates that processes write beside one another: the same as written here, whatever happens to them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autoprec.errors import StudyError, TrialError, UserError
from autoprec.records import Assignment
from autoprec.spec import load_spec
from autoprec.study.preparation import Prepared, prepare
from autoprec.writing import Writers
from tiny_study import write_model, write_study

MORE = '[search]\nprecisions = ["fp32", "int8", "int8+smooth+adaround"]\nreference = "fp32"\n'


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    path = write_study(tmp_path_factory.mktemp("study"))
    path.write_text(path.read_text().replace("[search]\n", MORE))
    return prepare(load_spec(path))


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writers]:
    pool = Writers(2, 1, tmp_path_factory.mktemp("logs") / "writing.log")
    yield pool
    pool.close()


def mixed(prepared: Prepared, *precisions: str) -> Assignment:
    return Assignment(choices=tuple(zip((b.name for b in prepared.blocks), precisions, strict=True)))


@pytest.mark.parametrize("first", ["fp32", "int8", "int8+smooth+adaround"])
def test_a_process_writes_what_is_written_here(
    prepared: Prepared, writers: Writers, tmp_path: Path, first: str
) -> None:
    assignment = mixed(prepared, first, "int8", "fp32")
    prepared.rewrite(assignment, tmp_path / "here.onnx")
    prepared.rewrite(assignment, tmp_path / "there.onnx", writers)
    assert (tmp_path / "there.onnx").read_bytes() == (tmp_path / "here.onnx").read_bytes()


def test_faults_come_back_as_they_would_be_here(prepared: Prepared, writers: Writers, tmp_path: Path) -> None:
    floats = mixed(prepared, "fp32", "fp32", "fp32")
    with pytest.raises(StudyError, match="cannot be written"):
        prepared.rewrite(floats, tmp_path / "missing" / "there.onnx", writers)
    gone = Assignment(choices=floats.choices, weights="0123456789abcdef")
    with pytest.raises(TrialError, match="refined weights cannot be read"):
        prepared.rewrite(gone, tmp_path / "there.onnx", writers)


def test_a_model_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    prepared, writers = prepare(load_spec(path)), Writers(1, 1, tmp_path / "log")
    write_model(tmp_path / "tiny.onnx", seed=5)
    with pytest.raises(UserError, match=r"tiny\.onnx.* has changed since the search began"):
        prepared.rewrite(mixed(prepared, "fp32", "fp32", "fp32"), tmp_path / "there.onnx", writers)
    writers.close()


def test_a_process_that_is_killed_from_outside_is_replaced(prepared: Prepared, tmp_path: Path) -> None:
    writers, before = Writers(1, 1, tmp_path / "log"), {p.pid for p in psutil.Process().children()}
    path = tmp_path / "there.onnx"
    asked = threading.Thread(
        target=prepared.rewrite, args=(mixed(prepared, "int8", "int8", "int8"), path, writers)
    )
    asked.start()
    while not (started := {p.pid for p in psutil.Process().children()} - before):
        time.sleep(0.01)
    os.kill(started.pop(), signal.SIGKILL)
    asked.join(120)
    assert path.exists()
    writers.close()
