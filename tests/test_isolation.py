"""A worker may crash, hang or eat memory: the caller gets a `TrialError` of the right kind, and goes on."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from autoprec.errors import TrialError
from autoprec.isolation import WorkerProcess
from autoprec.loading import bounded
from autoprec.study.preparation.alongside import alongside

MODULE = """
import os, signal, sys, time
from autoprec.isolation import Answers, requests
answers = Answers(int(sys.argv[1]))
for number, line in enumerate(requests(), 1):
    if line == b"crash": print("about to fall", flush=True); os.abort()
    if line == b"hang": time.sleep(600)
    if line == b"eat": eaten = bytearray(600 << 20); time.sleep(600)
    if line == b"exit": sys.exit(7)
    if line == b"killed": os.kill(os.getpid(), signal.SIGKILL)
    print("noise on stdout", flush=True)
    answers.send(b"stage"); answers.send(b"done " + (b"%d" % number if line == b"count" else line))
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """One for all tests: it starts anew behind each death."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "frail.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch, WorkerProcess("frail", folder / "log") as worker:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
        yield worker


def ask(
    worker: WorkerProcess, line: bytes, seconds: float = 20, memory_bytes: int | None = None
) -> list[bytes]:
    return list(
        worker.ask(line, seconds=seconds, memory_bytes=memory_bytes, is_last=lambda a: a.startswith(b"done"))
    )


def test_answers_come_in_order_and_the_process_stays(worker: WorkerProcess) -> None:
    worker.close()
    assert ask(worker, b"one") == [b"stage", b"done one"]
    assert ask(worker, b"count") == [b"stage", b"done 2"]


def test_a_worker_has_no_limit_of_memory_that_this_process_has_for_a_while(worker: WorkerProcess) -> None:
    worker.close()
    asked = threading.Thread(target=ask, args=(worker, b"one"))
    with bounded(512 << 20):
        asked.start()
        asked.join(0.5)
    asked.join()
    assert worker._process is not None
    mine = resource.getrlimit(resource.RLIMIT_AS)
    assert resource.prlimit(worker._process.pid, resource.RLIMIT_AS) == mine


def test_work_beside_a_block_that_fails_ends_with_its_worker(worker: WorkerProcess) -> None:
    ask(worker, b"one")

    def wait() -> None:
        for _ in range(3):  # as one who asks again what an end from outside says nothing of
            with suppress(TrialError):
                ask(worker, b"hang", seconds=600)

    with suppress(KeyError), alongside(wait, print, worker.close):
        time.sleep(0.3)
        raise KeyError
    assert "alongside" not in {thread.name for thread in threading.enumerate()}


def test_a_worker_outlives_the_thread_that_first_asked(worker: WorkerProcess) -> None:
    worker.close()
    thread = threading.Thread(target=ask, args=(worker, b"one"))
    thread.start()
    thread.join()
    time.sleep(0.2)  # a signal from the system would be on its way
    assert ask(worker, b"count")[-1] == b"done 2"


def test_a_request_that_a_dead_worker_never_read_is_told_as_its_death(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(worker, b"one")
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    monkeypatch.setattr(worker._process, "poll", lambda: None)  # as if it died a moment later
    with pytest.raises(TrialError) as caught:
        ask(worker, b"two")
    assert caught.value.kind == "killed"


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (b"crash", "crash", "SIGABRT.*about to fall"),
        (b"exit", "crash", "exit code 7"),
        (
            b"killed",
            "killed",
            r"killed from outside \(SIGKILL\): by the system \(out of memory\) or by a user",
        ),
    ],
)
def test_a_death_is_a_crash_and_the_next_request_is_served(
    worker: WorkerProcess, line: bytes, kind: str, words: str
) -> None:
    with pytest.raises(TrialError, match=words) as caught:
        ask(worker, line)
    assert caught.value.kind == kind
    assert ask(worker, b"again")[-1] == b"done again"


def test_where_a_crash_happened_is_in_the_log_behind_its_last_words(worker: WorkerProcess) -> None:
    for line, words in ((b"crash", "last words: about to fall$"), (b"exit", "exit code 7")):
        with pytest.raises(TrialError, match=words):
            ask(worker, line)
    assert "frail.py" in worker._log.read_text().partition("Fatal Python error: Aborted")[2]


def test_a_hang_ends_at_the_time_limit(worker: WorkerProcess) -> None:
    with pytest.raises(TrialError, match="trial_seconds") as caught:
        ask(worker, b"hang", seconds=1)
    assert caught.value.kind == "timeout"
    assert ask(worker, b"count")[-1] == b"done 1", "a fresh process"


def test_memory_over_the_limit_ends_the_worker(worker: WorkerProcess) -> None:
    with pytest.raises(TrialError, match="memory_mb") as caught:
        ask(worker, b"eat", memory_bytes=300 << 20)
    assert caught.value.kind == "memory"
    assert ask(worker, b"count")[-1] == b"done 1", "a fresh process"
