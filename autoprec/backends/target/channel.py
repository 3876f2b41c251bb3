"""The line to an agent: started over ssh or beside us, asked one thing at a time."""

from __future__ import annotations

import contextlib
import math
import signal
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, cast

from autoprec.backends.target.address import Address
from autoprec.backends.target.agent import wire
from autoprec.backends.target.faults import CutError, FullError, GoneError, UnreachableError, unreached
from autoprec.backends.target.package import FULL, HAVE, NEED, NO_FOLDER, UNFIT, agent_archive, bootstrap
from autoprec.backends.target.words import LastWords, ended_after
from autoprec.errors import BackendError, FailureKind, TrialError
from autoprec.loading import STARTING

LIMIT_BYTES = 8 << 30
"""What an agent keeps on the target's disk."""
SSH_FAILED = 255
_SIGNALLED = 128
"""A shell adds this to a signal's number."""
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT})
"""No fault of what ran there, but for the system's want of memory."""
_MOST_PRINTED = 1 << 16
"""Bytes that login scripts may print."""
START_SECONDS = 60.0
"""Until the agent says a first word: a target may take a connection and be silent for ever."""
SECONDS: Mapping[str, float] = {
    "hello": 180.0,  # loads libraries of gigabytes
    "clocks": 60.0,
    "clean": 300.0,
    "timings": 300.0,
    "plan": 3600.0,
}
"""Time limits of requests that no worker's limit covers."""
_MOST_BYTES: Mapping[str, int] = {"run": 1 << 30, "plan": wire.LARGEST_BLOB, "timings": 1 << 30}
_MOST_WORDS: Mapping[str, int] = {"describe": 32 << 20}
_WORDS = 1 << 20
"""What an answer may hold: bytes behind its header, by request, and of the header itself."""
_KINDS: Mapping[str, FailureKind] = {"memory": "memory", "build": "build", "run": "run", "crash": "crash"}


class Channel:
    """One agent; `close` ends it. Its answers are untrusted data: callers check sizes and types.

    Args:
        address: where it is.

    Raises `UnreachableError` where no line can be had, `BackendError` where the agent does not start.
    """

    cuts = True

    def __init__(self, address: Address) -> None:
        self.address = address
        self._loss: TrialError | None = None
        self.is_late = False
        # Isolated: nothing in the folder that ssh begins in, nor
        # PYTHONPATH, takes the place of Python's own modules.
        command = address.command(address.python, "-I", "-c", bootstrap(address.folder, LIMIT_BYTES))
        try:
            with STARTING:
                self._process = subprocess.Popen(  # noqa: S603 - the system's ssh, or a Python the user names
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
        except OSError as error:
            raise BackendError(f"{address.name}: {command[0]} does not start: {error.strerror}") from error
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: PT018
        self._words = LastWords(self._process.stderr)
        self._out, self._in = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        # Also where nobody closes the channel: no agent outlives its search.
        self._end = weakref.finalize(self, _end, self._process, (self._out, self._in))
        self._printed = b""
        with ended_after(self._process, START_SECONDS) as late:
            is_there = self._brought()
        if not is_there or late.is_set():
            raise self._not_started(is_late=late.is_set())

    def _brought(self) -> bool:
        """Send the agent if it is not there yet; returns whether it runs. Skips what login scripts print."""
        try:
            while len(self._printed) < _MOST_PRINTED and (line := self._in.readline(_MOST_PRINTED)):
                if line == HAVE:
                    return True
                if line == NEED:
                    self._out.write(agent_archive().data)
                    self._out.flush()
                elif line.strip():
                    self._printed += line
        except OSError:
            pass
        return False

    def ask(
        self, request: str, blobs: Sequence[bytes] = (), most: int | None = None, **header: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send a request, and return its answer. See `Asked.ask`.

        Raises `TrialError`: what the engine there refused, of kind "killed" where the line is cut, of
        kind "crash" where the agent died.
        """
        if self._loss is not None:
            raise self._loss
        most = _MOST_BYTES.get(request, 0) if most is None else most
        with ended_after(self._process, SECONDS.get(request)) as late:
            try:
                wire.send(self._out, {**header, "request": request}, blobs)
                answer, received = wire.receive(self._in, most, _MOST_WORDS.get(request, _WORDS))
            except (OSError, ValueError, wire.WireError) as error:
                self.is_late = late.is_set()
                # Kept: every later question gets the same answer, instead of a broken pipe.
                self._loss = self._lost(error, SECONDS.get(request, math.inf))
                raise self._loss from error
        if "error" in answer:
            kind, message = str(answer["error"])[:20], " ".join(str(answer.get("message", ""))[:1000].split())
            if kind == "missing":
                raise BackendError(
                    f"{self.address.name}: {message}; install the engine's Python bindings there"
                )
            if kind == "disk":
                raise FullError(f"{self.address.name}: {message}; `autoprec target clean` frees space")
            # A disk that is broken or read-only: nobody makes room there, so nobody waits.
            if kind == "folder":
                raise BackendError(f"{self.address.name}: {message}; target.folder must be writable")
            if kind == "gone":
                raise GoneError(f"{self.address.name}: {message}")
            raise TrialError(_KINDS.get(kind, "build" if request == "build" else "run"), message)
        return answer, received

    @property
    def is_lost(self) -> bool:
        """Whether its line was cut, or the agent died."""
        return self._loss is not None or self._process.poll() is not None

    def close(self) -> None:
        """End the agent; a second call does nothing."""
        self._end()

    def _not_started(self, *, is_late: bool) -> BackendError:
        code, told, where = self._ended(), self._words.text(), self.address.name
        printed = self._printed.decode(errors="replace").strip()
        words = (told or printed or f"exit code {code}").splitlines()[-1].strip()
        self.close()
        if is_late:
            return UnreachableError(
                f"{where} takes the connection, and does not answer within {START_SECONDS:g} s; "
                "is the machine hung, or its disk?"
            )
        if code == SSH_FAILED and self.address.host:
            return unreached(self.address, told)
        if code is not None and (code < 0 or code > _SIGNALLED):
            return CutError(f"{where}: the line was cut while the agent started ({words})")
        if code == FULL:
            return FullError(f"{where}: {words}; free some space there, or run `autoprec target clean`")
        if code == NO_FOLDER:
            return BackendError(f"{where}: {words}; name a writable folder in target.folder")
        return BackendError(
            f"{where}: {self.address.python} cannot start the agent ({words}); "
            "name a Python 3.8 or later with numpy in target.python"
        )

    def _lost(self, error: Exception, seconds: float) -> TrialError:
        """The error that describes how the line ended; `seconds` is the time limit of the answer."""
        is_closed = isinstance(error, (wire.ClosedError, OSError))
        code = self._ended() if is_closed else self._process.poll()
        words = self._words.line() if is_closed else ""
        self.close()
        if self.is_late:
            return TrialError(
                "killed", f"{self.address.name} did not answer within {seconds:g} s; is it hung?"
            )
        if isinstance(error, wire.WireError) and code is None:
            return TrialError("crash", f"{self.address.name}: {error}")
        if code == SSH_FAILED and self.address.host:
            return TrialError(
                "killed", f"the connection to {self.address.name} was lost ({words or 'no reason given'})"
            )
        # The agent came and could not load numpy: its last words say how to install it.
        if code == UNFIT:
            return TrialError("crash", f"{words}, or name another Python in target.python")
        name, is_killed = f"exit code {code}", code == 0
        if code is not None and (code < 0 or code > _SIGNALLED):
            with contextlib.suppress(ValueError):
                number = signal.Signals(-code if code < 0 else code - _SIGNALLED)
                name, is_killed = number.name, number in _FROM_OUTSIDE
        return TrialError(
            "killed" if is_killed else "crash",
            f"the agent on {self.address.name} died ({name}); last words: {words or 'none'}",
        )

    def _ended(self) -> int | None:
        """The exit code of a process whose line is closed; None if it does not end."""
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            return None


def _end(process: subprocess.Popen[bytes], streams: Sequence[BinaryIO]) -> None:
    """Close the line, which ends the agent, and wait for it."""
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.close()
    # Closing the line ends an agent; ssh itself may hang on a dead network.
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
