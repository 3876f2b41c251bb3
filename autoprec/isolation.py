"""A process where a trial can die: started once, spoken to in JSON lines, killed at its limits.

Owns the process, its pipes and its limits. What is said over the pipes belongs to the caller. The worker
answers on a pipe of its own, so nothing that a library prints can break the protocol; what it prints goes
to a log file, whose last line is shown when it dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import psutil

from autoprec import rehearsal
from autoprec.backends.timing import Deadline
from autoprec.closing import Closing
from autoprec.errors import StudyError, TrialError
from autoprec.files import SHARED_TMPDIR, not_following, own_folder
from autoprec.loading import STARTING, loaded

_POLL_SECONDS = 0.2
_WORDS_BYTES = 1 << 16
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL})
_FATAL = "Fatal Python error"
"""How Python begins to tell where each thread was, at one of these signals."""
_PR_SET_PDEATHSIG = 1
_FROM_OUTSIDE = frozenset(
    {
        signal.SIGKILL,
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGPWR,
        signal.SIGXCPU,
    }
)
"""Signals that no fault of the process itself raises: the system or somebody sends them."""
_STARTER = ThreadPoolExecutor(1, "workers")
"""Starts every worker: a process that dies with its parent dies with the thread that started it, and those
that ask come and go."""


class WorkerProcess(Closing):
    """One worker process: `python -P -m autoprec.loading MODULE FD`, where FD is the pipe that it answers on.

    Without `-P` Python would take modules from the current folder first, which may be anybody's.

    Args:
        module: its `__main__` reads requests with `requests()` and answers with `Answers.send`.
        log: file that takes what the process prints.
        environment: variables that the process has besides, or instead of, those of this one.
    """

    def __init__(self, module: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._module = module
        self._environment = dict(environment or {})
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = -1
        self._changing = threading.Lock()
        self._buffer = b""
        self._is_ready = False
        self._deaths_at_start = 0

    def ask(
        self, request: bytes, *, seconds: float, memory_bytes: int | None, is_last: Callable[[bytes], bool]
    ) -> Iterator[bytes]:
        """Send one line and yield every answer up to and including the last one.

        Args:
            request: one line without its end.
            seconds: until the last answer; then the process is killed.
            memory_bytes: the most that it may hold, resident; None for any.
            is_last: whether an answer ends the request.

        Raises `TrialError` of kind "timeout", "memory", "crash", or "killed" by something outside; the
        process is gone then, and the next call starts a fresh one. Raises `StudyError` where none can start,
        or load its libraries.
        """
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(request + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._death(process) from None
        deadline = Deadline(seconds)
        while True:
            for line in self._lines(process):
                yield line
                if is_last(line):
                    return
            if deadline.is_over:
                self.close()
                raise TrialError(
                    "timeout", f"the trial took more than {seconds:g} s; raise backend.trial_seconds"
                )
            held = _resident_bytes(process.pid)
            if memory_bytes is not None and held > memory_bytes:
                self.close()
                raise TrialError(
                    "memory",
                    f"the trial held {held >> 20} MiB, over its limit of {memory_bytes >> 20} MiB; "
                    "raise backend.memory_mb",
                )

    def close(self) -> None:
        """Kill the process and everything that it started; may be called while another thread asks it."""
        with self._changing:
            process, self._process = self._process, None
            answers = self._answers
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # what it died before it could read
                process.stdin.close()
        os.close(answers)

    def _started(self) -> subprocess.Popen[bytes]:
        """The running process; a new one, if there is none."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        with contextlib.ExitStack() as opened:
            try:
                scratch = own_folder(self._log.parent, "scratch")
                log = opened.enter_context(open(self._log, "ab", opener=not_following))
                answers, child_end = os.pipe()
                opened.callback(os.close, child_end)
                process = _STARTER.submit(self._start, child_end, log, scratch).result()
            except OSError as error:
                where = error.filename or "the worker"
                raise StudyError(
                    f"{where}: no worker can start ({error.strerror}); fix that first"
                ) from error
        os.set_blocking(answers, False)
        with self._changing:
            self._process, self._answers, self._buffer, self._is_ready = process, answers, b"", False
        return process

    def _start(self, child_end: int, log: BinaryIO, scratch: Path) -> subprocess.Popen[bytes]:
        with STARTING:
            # A session of its own: Ctrl-C reaches the search alone, which lets running trials finish.
            return subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "autoprec.loading", self._module, str(child_end)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(child_end,),
                start_new_session=True,
                env=self._variables(scratch),
            )

    def _variables(self, scratch: Path) -> dict[str, str]:
        """The worker's environment; its temporary files lie in a folder that is swept after a kill."""
        return {
            **os.environ,
            # Leases of devices lie in the folder that all studies share: the worker's own is its study's.
            SHARED_TMPDIR: os.environ.get(SHARED_TMPDIR, tempfile.gettempdir()),
            "TMPDIR": str(scratch.absolute()),
            **self._environment,
        }

    def _lines(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """Whole lines received within one polling period. Raises `TrialError` if the process has died.

        What it forked may hold the pipe open after its death, so that no end of file comes.
        """
        # Asked before the pipe is: what it wrote last still counts.
        is_dead = process.poll() is not None
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._answers, selectors.EVENT_READ)
                if not selector.select(_POLL_SECONDS):
                    if is_dead:
                        raise self._death(process)
                    return
            chunk = os.read(self._answers, 1 << 20)
        except OSError:  # another thread has closed it
            chunk = b""
        if not chunk:
            raise self._death(process)
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        if lines:
            self._is_ready, self._deaths_at_start = True, 0
        yield from filter(None, lines)

    def _death(self, process: subprocess.Popen[bytes]) -> TrialError | StudyError:
        """The error for a process that ended by itself; two that never were ready say nothing of a trial."""
        code = process.wait()
        self.close()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if not self._is_ready and -code not in _FROM_OUTSIDE - {signal.SIGINT}:
            self._deaths_at_start += 1
            # Libraries end the process by these signals where memory is short, and any program may send them.
            if self._deaths_at_start == 1 and code < 0 and -code != signal.SIGPROF:
                return TrialError("killed", f"the worker died as it loaded its libraries ({name})")
            return StudyError(
                f"no worker can start: it ended as it loaded its libraries ({name}; last words: "
                f"{self._last_words(code)}); most likely memory is short (see `ulimit -v`); fix that first"
            )
        if -code in _FROM_OUTSIDE:
            return TrialError(
                "killed",
                f"the worker was killed from outside ({name}): by the system (out of memory) or by a user",
            )
        return TrialError("crash", f"the worker died ({name}); last words: {self._last_words(code)}")

    def _last_words(self, code: int) -> str:
        """The last line of the log before an end by `code`. Only its end is read: engines print for hours."""
        try:
            with self._log.open("rb") as log:
                # From the end: a log of a night may have gigabytes.
                log.seek(max(0, os.fstat(log.fileno()).st_size - _WORDS_BYTES))
                before, dump, after = log.read().decode(errors="replace").rpartition(_FATAL)
        except OSError:
            before, dump, after = "", "", ""
        said = before if dump and -code in _CRASHES else after
        return lines[-1] if (lines := said.strip().splitlines()) else "none"


class Answers:
    """The worker's side of the pipe: line by line, and nothing else. An empty one says that it is ready."""

    def __init__(self, descriptor: int) -> None:
        # Unbuffered: what was sent before a crash has been sent.
        self._pipe = os.fdopen(descriptor, "wb", buffering=0)
        faulthandler.enable()  # where a crash happened is in the log, for whoever looks for its cause
        loaded()
        rehearsal.needless()
        self.send(b"")

    def send(self, line: bytes) -> None:
        """Send one answer."""
        self._pipe.write(line + b"\n")


def requests() -> Iterator[bytes]:
    """The worker's side: requests until the search is gone.

    The process is set to die with the search, also when that is killed in the middle of a build.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for line in sys.stdin.buffer:
        yield line.rstrip(b"\n")


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 if it has just gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
