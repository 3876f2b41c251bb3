"""The last lines of a process's standard error, in bounded memory; and a time limit for the process."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

_KEPT = 4000
_PATIENCE_SECONDS = 1.0


class LastWords:
    """Reads a stream to its end, and keeps only its last bytes: a target may print without end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """What was said last, once the process is over. Another process may hold the stream open, as ssh's
        multiplexing does: that is not waited for."""
        self._thread.join(_PATIENCE_SECONDS)
        return self._kept.decode(errors="replace").strip()

    def line(self) -> str:
        """The last line of it; empty if there is none."""
        lines = self.text().splitlines()
        return lines[-1].strip() if lines else ""

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            # `read1` gives what is there: `read` would wait for a full block while the process is talking.
            while part := self._stream.read1(1 << 16):  # type: ignore[attr-defined]
                self._kept = (self._kept + part)[-_KEPT:]
        with contextlib.suppress(OSError):
            self._stream.close()


@contextlib.contextmanager
def ended_after(process: subprocess.Popen[bytes], seconds: float | None) -> Iterator[threading.Event]:
    """Kill a process if the block takes longer than `seconds`; the event says whether it did."""
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds or 0, end)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield late
    finally:
        timer.cancel()
