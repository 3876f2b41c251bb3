"""The line to an agent: started over ssh or beside us, asked one thing at a time."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, cast

from autoprec.backends.target.address import Address
from autoprec.backends.target.agent import wire
from autoprec.backends.target.package import BOOTSTRAP, agent_archive
from autoprec.errors import BackendError, FailureKind, TrialError

LIMIT_BYTES = 8 << 30
"""What an agent keeps on the target's disk."""
SSH_FAILED = 255
_SIGNALLED = 128
"""A shell adds this to a signal's number."""
_KINDS: Mapping[str, FailureKind] = {"memory": "memory", "build": "build", "run": "run", "crash": "crash"}


class UnreachableError(BackendError):
    """A target that cannot be reached now; it may come back."""


class CutError(UnreachableError):
    """A target that was reached, and whose line was cut before it served: to be tried again at once."""


class Channel:
    """One agent; `close` ends it. What it answers is data: sizes and types are checked by who asked.

    Args:
        address: where it is.

    Raises `UnreachableError` where no line can be had, `BackendError` where the agent does not start.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        archive, digest = agent_archive()
        self._loss: TrialError | None = None
        self._words: BinaryIO = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - closed in `close`
        command = address.command(
            address.python, "-I", "-c", BOOTSTRAP, digest, str(len(archive)), address.folder, str(LIMIT_BYTES)
        )
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the system's ssh, or a Python that the user names
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words
            )
        except OSError as error:
            self._words.close()
            raise BackendError(f"{address.text}: {command[0]} does not start: {error.strerror}") from error
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018
        self._out, self._in = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        self._end = weakref.finalize(self, _end, self._process, (self._out, self._in, self._words))
        try:
            answer = self._in.readline(16)
            if answer == b"need\n":
                self._out.write(archive)
                self._out.flush()
            elif answer != b"have\n":
                raise self._not_started()
        except OSError as error:
            raise self._not_started() from error

    def ask(
        self, request: str, blobs: Sequence[bytes] = (), **header: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        """One answer.

        Raises `TrialError`: what the engine there refused, of kind "killed" where the line is cut, of
        kind "crash" where the agent died.
        """
        if self._loss is not None:
            raise self._loss
        try:
            wire.send(self._out, {**header, "request": request}, blobs)
            answer, found = wire.receive(self._in)
        except (OSError, ValueError, wire.WireError) as error:
            self._loss = self._lost(error)
            raise self._loss from error
        if "error" in answer:
            kind, message = str(answer["error"]), str(answer.get("message", ""))[:1000]
            if kind == "missing":
                raise BackendError(
                    f"{self.address.text}: {message}; install the engine's Python bindings there"
                )
            if kind == "disk":
                raise BackendError(f"{self.address.text}: {message}; `autoprec target clean` makes room")
            raise TrialError(_KINDS.get(kind, "build" if request == "build" else "run"), message)
        return answer, found

    @property
    def is_lost(self) -> bool:
        """Whether its line was cut, or the agent died."""
        return self._loss is not None

    def close(self) -> None:
        """End the agent; a second call does nothing."""
        self._end()

    def _last_words(self) -> str:
        self._words.seek(0)
        lines = self._words.read()[-4000:].decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _not_started(self) -> BackendError:
        code, words = self._ended(), self._last_words()
        self.close()
        if code == SSH_FAILED and self.address.host:
            hint = "accept its key once with `ssh`" if "Host key" in words else "does `ssh` reach it?"
            return UnreachableError(
                f"{self.address.text} cannot be reached ({words or 'ssh gives no reason'}); {hint}"
            )
        if code is not None and (code < 0 or code > _SIGNALLED):
            return CutError(
                f"{self.address.text}: the line was cut while the agent started ({words or code})"
            )
        return BackendError(
            f"{self.address.text}: {self.address.python} does not start the agent "
            f"({words or f'exit code {code}'}); name a Python 3.8 or later with numpy in target.python"
        )

    def _lost(self, error: Exception) -> TrialError:
        code, words = self._ended(), self._last_words()
        self.close()
        if isinstance(error, wire.WireError) and code is None:
            return TrialError("crash", f"{self.address.text}: {error}")
        if code == SSH_FAILED and self.address.host:
            return TrialError(
                "killed", f"the line to {self.address.text} was cut ({words or 'no reason given'})"
            )
        name = f"exit code {code}"
        if code is not None and (code < 0 or code > _SIGNALLED):
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code if code < 0 else code - _SIGNALLED).name
        return TrialError(
            "crash", f"the agent on {self.address.text} died ({name}); last words: {words or 'none'}"
        )

    def _ended(self) -> int | None:
        """The exit code, once a line that is closed has ended its process."""
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            return None


def _end(process: subprocess.Popen[bytes], streams: Sequence[BinaryIO]) -> None:
    """Close the line, which ends the agent, and wait for it."""
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.close()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
