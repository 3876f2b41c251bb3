"""Work that ends its process: told by a copy that it ends."""

import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from autoprec.loading import STARTING, ensure_memory
from autoprec.rehearsal import fatal_signal

pytestmark = pytest.mark.usefixtures("rehearsed")


def forever() -> None:
    for _ in count():
        pass


def test_work_that_crashes_or_never_ends_is_told_by_its_signal() -> None:
    assert fatal_signal(os.abort, 60) == "SIGABRT"
    assert fatal_signal(forever, 1) == "SIGXCPU"


def test_work_that_ends_is_told_by_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert fatal_signal(lambda: os.write(1, b"heard twice"), 60) == ""
    assert fatal_signal(lambda: 1 / 0, 60) == ""
    assert capfd.readouterr() == ("", "")


def test_where_no_end_is_told_work_and_threads_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert fatal_signal(os.abort, 60) == ""
        ensure_memory()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_a_worker_rehearses_nothing(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import os, autoprec.isolation as i, autoprec.rehearsal as r\n"
        "i.Answers(os.dup(2)); print([r.fatal_signal(os.abort, 9)])"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-P", "-m", "autoprec.loading", "own"]
    told = subprocess.run(
        command, capture_output=True, check=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert told.stdout == "['']\n"


def test_a_copy_does_not_wait_for_a_process_that_another_thread_is_starting() -> None:
    def start() -> None:
        with STARTING:
            held.set()
            time.sleep(0.2)

    def crash() -> None:
        with STARTING:
            os.abort()

    held = Event()
    other = Thread(target=start)
    other.start()
    held.wait()
    assert fatal_signal(crash, 1) == "SIGABRT"
    other.join()
