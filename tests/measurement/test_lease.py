"""One engine is timed on a device at a time, alone on it, whichever processes are there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from autoprec.isolation import WorkerProcess
from autoprec.measurement import lease
from autoprec.measurement.lease import DeviceLease

HOLD = """
import sys; from pathlib import Path; from autoprec.measurement.lease import DeviceLease
with getattr(DeviceLease("gpu", Path(sys.argv[1])), sys.argv[2])(): print("in", flush=True); sys.stdin.read()
"""


def holder(folder: Path, how: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    return process


def entered(folder: Path, how: str) -> threading.Event:
    """Set once a thread of this process has the lease; it gives it back at once."""
    event = threading.Event()

    def enter() -> None:
        with getattr(DeviceLease("gpu", folder), how)():
            event.set()

    threading.Thread(target=enter, daemon=True).start()
    return event


def test_engines_run_beside_one_another_and_are_timed_alone(tmp_path: Path) -> None:
    with holder(tmp_path, "running") as other:
        assert entered(tmp_path, "running").wait(10)
        timed = entered(tmp_path, "alone")
        assert not timed.wait(0.2)
        other.kill()
        assert timed.wait(10)


def test_who_waits_to_be_alone_is_not_overtaken(tmp_path: Path) -> None:
    with holder(tmp_path, "running") as other:
        timed = entered(tmp_path, "alone")
        time.sleep(0.2)
        late = entered(tmp_path, "running")
        assert not late.wait(0.2)
        other.kill()
        assert timed.wait(10)
        assert late.wait(10)


def test_another_device_is_another_lease(tmp_path: Path) -> None:
    with DeviceLease("other", tmp_path).alone():
        assert entered(tmp_path, "alone").wait(10)


WORKER = """
import sys
from autoprec.isolation import Answers, requests
from autoprec.measurement.lease import DeviceLease
answers = Answers(int(sys.argv[1]))
for _ in requests():
    with DeviceLease("gpu").running(): answers.send(b"leased")
"""


def test_workers_of_all_studies_lease_in_the_machine_s_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leasing.py").write_text(WORKER)
    (tmp_path / "machine").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "machine"))
    with WorkerProcess("leasing", tmp_path / "log") as worker:
        assert list(worker.ask(b"go", seconds=60, memory_bytes=None, is_last=lambda _: True)) == [b"leased"]
    assert (tmp_path / "machine" / "autoprec-devices" / "gpu.lease").exists()


@pytest.mark.parametrize(("seconds", "is_let_in"), [(0.0, True), (3600.0, False)])
def test_a_long_pass_lets_those_in_who_wait_to_be_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, *, is_let_in: bool
) -> None:
    monkeypatch.setattr(lease, "_SHARED_SECONDS", seconds)
    with DeviceLease("gpu", tmp_path).running() as pause:
        timed = entered(tmp_path, "alone")
        for _ in range(1000 if is_let_in else 20):
            pause()
            if timed.wait(0.01):
                break
        assert timed.is_set() == is_let_in


def test_what_is_waited_is_counted(tmp_path: Path) -> None:
    mine = DeviceLease("gpu", tmp_path)
    with holder(tmp_path, "alone") as other:
        threading.Timer(0.2, other.kill).start()
        with mine.running():
            assert mine.waited > 0.1
