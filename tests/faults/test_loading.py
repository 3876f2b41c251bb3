"""Where address space is limited, loading is refused, done with one thread, or ended; it is never endless.

Nowhere does garbage collection look through what was loaded.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autoprec.cli import _parts
from autoprec.errors import StudyError, TrialError
from autoprec.isolation import WorkerProcess
from autoprec.loading import ensure_memory

LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_AS, ({0}, {0}))\n"
STUCK = """
from autoprec import loading
loading._SECONDS = 0.2
loading.end_if_stuck()
while {}: pass
loading.loaded()
for _ in range(30_000_000): pass
"""


FULL = """
import mmap
from autoprec.loading import take_buffer
import numpy as np
square, held = np.ones((256, 256)), []
take_buffer()
try:
    while True: held.append(mmap.mmap(-1, 8 << 20))
except OSError: print(int((square @ square)[0, 0]))
"""


TAKEN = """
import mmap
import resource
from pathlib import Path
import numpy
from autoprec.cli import main
ballast = mmap.mmap(-1, 512 << 20)  # or the whole would be refused as too little
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 20),) * 2)
main(["studies"])
"""


NO_ROOM = """
import resource
from pathlib import Path
import numpy
from autoprec.spec import BackendSection
from autoprec.study.diagnosis import diagnose
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (36 << 20),) * 2)
for check in diagnose(BackendSection(name="openvino")).checks:
    print(check.name, check.found, check.remedy)
"""


ARENAS = """
from pathlib import Path
from autoprec.loading import ensure_memory
size = lambda: int(Path("/proc/self/statm").read_text().split()[0])
before = size()
ensure_memory()
print((size() - before) * 4096 >> 20)
"""


SYMBOLS = """
import sys
from autoprec.loading import postpone
postpone()
import onnx_ir
size = onnx_ir.SymbolicDim("N")
before = "sympy.core" in sys.modules
print(before, size + 1, "sympy.core" in sys.modules)
"""


def test_what_a_command_loads_stays_out_of_garbage_collection() -> None:
    before = gc.get_freeze_count()
    _parts.__getattr__("as_json")
    assert gc.get_freeze_count() > before
    assert gc.isenabled()


@pytest.fixture
def lame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], WorkerProcess]:
    """A worker whose module ends as it loads, in the way that is given."""

    def make(end: str) -> WorkerProcess:
        (tmp_path / "lame.py").write_text(end)
        monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *sys.path]))
        return WorkerProcess("lame", tmp_path / "log")

    return make


def first_words(worker: WorkerProcess) -> str:
    """What the caller of a worker that cannot load hears."""
    with worker, pytest.raises(StudyError) as caught:
        list(worker.ask(b"", seconds=60, memory_bytes=None, is_last=lambda _: True))
    return str(caught.value)


def test_a_worker_whose_limit_came_later_says_that_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(LIMIT.format(300 << 20))
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *sys.path]))
    words = first_words(WorkerProcess("autoprec.measurement", tmp_path / "log"))
    assert "exit code 1; last words: the shell allows 300 MiB of address space" in words


def test_a_worker_that_cannot_load_says_nothing_of_a_candidate(lame: Callable[[str], WorkerProcess]) -> None:
    assert "no worker can start: it ended as it loaded" in first_words(lame("raise SystemExit('no library')"))


def test_a_signal_as_a_worker_loads_may_be_anybodys_and_a_second_one_is_told(
    lame: Callable[[str], WorkerProcess],
) -> None:
    """OpenBLAS sends a SIGINT where it cannot start its threads."""
    worker = lame("__import__('signal').raise_signal(2)")
    with pytest.raises(TrialError, match="SIGINT") as first:
        list(worker.ask(b"", seconds=20, memory_bytes=None, is_last=bool))
    assert first.value.kind == "killed"
    assert "no worker can start: it ended as it loaded its libraries (SIGINT" in first_words(worker)


@pytest.mark.parametrize(("is_stuck", "code"), [(True, -signal.SIGPROF), (False, 0)])
def test_only_loading_is_ended_when_it_computes_for_too_long(is_stuck: bool, code: int) -> None:
    command = [sys.executable, "-c", LIMIT.format(4 << 30) + STUCK.format(is_stuck)]
    assert subprocess.run(command, check=False, timeout=60).returncode == code


def test_scarce_address_space_means_one_thread_of_openblas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    for megabytes, threads in ((-1, None), (1 << 20, None), (400, "1")):
        limit = megabytes << 20 if megabytes > 0 else resource.RLIM_INFINITY
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        ensure_memory()
        assert os.environ.get("OPENBLAS_NUM_THREADS") == threads


def test_where_hardly_a_thread_can_start_openblas_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    ensure_memory()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_asking_for_threads_takes_no_address_space_for_good() -> None:
    told = subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, check=True, text=True)
    assert int(told.stdout) < 16


def test_each_engine_without_room_to_load_is_a_line_of_what_doctor_says(tmp_path: Path) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text("raise ImportError")
    environment = os.environ | {"PYTHONPATH": ":".join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", NO_ROOM]
    told = subprocess.run(command, capture_output=True, check=False, text=True, env=environment)
    assert told.returncode == 0, told.stderr
    assert "less than the 288 MiB are left that tensorrt_rtx takes" in told.stdout
    assert "less than the 160 MiB are left that openvino takes" in told.stdout
    assert "tensorrt not installed" in told.stdout


def test_a_command_whose_address_space_is_taken_ends_in_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TAKEN], capture_output=True, check=False, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("autoprec: the shell allows ")
    assert ended.stderr.count("\n") == 1


def test_arithmetic_with_symbolic_sizes_is_loaded_when_it_is_used() -> None:
    told = subprocess.run([sys.executable, "-c", SYMBOLS], capture_output=True, check=True, text=True)
    assert told.stdout.split() == ["False", "N", "+", "1", "True"]


def test_products_go_on_when_no_more_address_space_is_left() -> None:
    command = [sys.executable, "-c", LIMIT.format(1 << 30) + FULL]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run(command, capture_output=True, check=False, text=True, env=environment)
    assert (told.returncode, told.stdout) == (0, "256\n"), told.stderr
