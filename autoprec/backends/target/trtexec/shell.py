"""Commands on a target that has nothing but a POSIX shell; what they need comes by standard input."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from typing import IO

from autoprec.backends.target.address import Address
from autoprec.backends.target.channel import SSH_FAILED
from autoprec.backends.target.faults import UnreachableError, unreached
from autoprec.backends.target.words import LastWords, ended_after
from autoprec.errors import BackendError, TrialError
from autoprec.loading import STARTING

MOST_BYTES = 1 << 30
"""What one command may answer."""
_MARK, _MOST_PRINTED = "autoprec answers", 1 << 16
"""What stands between the words of a login script, and the bytes of these, and an answer."""
_BEGIN = 'eval "$(dd bs=1 count={} 2>/dev/null)"'
"""A script comes by standard input: login shells take a line break, or a `!`, of a command for their own."""
_NO_SPACE, _NO_FILE = "No space left", "No such file"
_GUARDED = """
exec 3<&0
set --
while IFS= read -r line <&3 && [ -n "$line" ]; do set -- "$@" "$line"; done
child=
ended() { [ -z "$child" ] || kill "$child"; exit 143; }
trap ended TERM HUP PIPE
{ cat <&3; kill -TERM $$; } >/dev/null 2>&1 &
guard=$!
waits() { "$@" </dev/null 3<&- & child=$!; wait "$child"; code=$?; child=; return $code; }
finish() { kill "$guard"; exit "$1"; }
"""
"""Lines up to an empty one become the parameters. When the line is cut, standard input ends, and with it what
`waits` runs: a build must not go on alone."""


class CommandError(Exception):
    """A command on the target ended with this code and these last words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words or f"exit code {code}")
        self.code = code

    @property
    def is_disk(self) -> bool:
        """Whether the disk there is full."""
        return _NO_SPACE in str(self)

    @property
    def is_gone(self) -> bool:
        """Whether something that was sent is no longer there."""
        return self.code == 1 and _NO_FILE in str(self)


class Shell:
    """Runs scripts at an address, one process each; ssh's own multiplexing makes more of them cheap."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._reached = False
        self.seconds: float | None = None
        """How long a command may take."""

    def run(self, script: str, words: Sequence[str] = (), most: int = MOST_BYTES) -> bytes:
        """Run a script, and return what it prints; it ends with the line, and runs long commands by `waits`.

        Args:
            script: POSIX shell; its last command is `finish CODE`.
            words: its parameters, each without a line break, none empty.
            most: bytes of the answer.

        Raises `CommandError`, `UnreachableError` before the first answer, `TrialError` of kind "killed" where
        the line is cut and of kind "crash" for an answer that is too long.
        """
        assert all(word and "\n" not in word for word in words)
        # As lines of standard input, not as arguments: no login shell gets to expand them.
        lines = "".join(f"{word}\n" for word in (*words, ""))
        return self._ran(_GUARDED + script, lines.encode(), most, False)

    def feed(self, script: str, data: bytes) -> bytes:
        """Run a script with these bytes as standard input; returns what it prints. Raises as `run` does."""
        return self._ran(script, data, MOST_BYTES, True)

    def _ran(self, script: str, data: bytes, most: int, ends: bool) -> bytes:
        printed, text = b"", f"echo; echo {_MARK}\n{script}".encode()
        try:
            with STARTING:
                process = subprocess.Popen(  # noqa: S603 - the system's ssh, or a shell
                    self._address.command("sh", "-c", _BEGIN.format(len(text))),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
        except OSError as error:
            raise BackendError(f"{self._address.name}: sh or ssh does not start: {error.strerror}") from error
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018
        told = LastWords(process.stderr)
        with ended_after(process, self.seconds) as late:
            with process.stdout, contextlib.suppress(BrokenPipeError):  # whose end the code tells
                process.stdin.write(text + data)
                process.stdin.flush()
                if ends:
                    process.stdin.close()
                printed = _up_to(process.stdout, most + _MOST_PRINTED)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            code = process.wait()
        if late.is_set():
            raise UnreachableError(
                f"{self._address.name} did not answer within {self.seconds:g} s; is it hung?"
            )
        login, mark, answer = printed.partition(f"\n{_MARK}\n".encode())
        words = told.text() or ("" if mark else login[-_MOST_PRINTED:].decode(errors="replace").strip())
        return self._judged(code, words, answer, most)

    def _judged(self, code: int, words: str, answer: bytes, most: int) -> bytes:
        where, last = self._address.name, (words.splitlines() or ["no reason given"])[-1]
        if code == SSH_FAILED and self._address.host:
            # Reached before, so the host and its keys are right: what ended is this line.
            if self._reached:
                raise TrialError("killed", f"the connection to {where} was lost ({last})")
            raise unreached(self._address, words)
        self._reached = True
        if len(answer) > most:
            raise TrialError("crash", f"{where} answers more than {most >> 20} MiB")
        if code:
            raise CommandError(code, words)
        return answer


def _up_to(stream: IO[bytes], most: int) -> bytes:
    """All that a stream gives, but no more than `most` + 1 bytes: one too many shows that there was more."""
    parts, left = [], most + 1
    while left and (part := stream.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
