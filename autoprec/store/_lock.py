"""One search at a time on a study's folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from autoprec.errors import StudyError
from autoprec.files import ensure_regular, sweep
from autoprec.store.dialects.sqlite import make_folder

_LONGEST_NUMBER = 10
_LEFTOVERS = (
    "scratch/*",
    ".export-*",
    ".exact-*",
    "autoprec-probe-*",
    ".*.part",
    ".study.db.repaired*",
    "*/.*.part",
)
"""Names of what is made and removed again, or takes another name when it is whole."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` for one search; the kernel lets go when the process dies, however it dies.

    What a search that was killed left half-made goes first.

    Raises `StudyError` naming the process that holds it.
    """
    make_folder(folder)
    path = folder / "search.lock"
    try:
        # Not "w", which would empty the file, and with it the name of who holds it, before the lock is tried.
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path}: cannot be written ({error.strerror}); make the folder writable") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StudyError(
                f"{folder}: process {holder} is searching this study; wait for it, or end it with Ctrl-C"
            ) from error
        except OSError as error:
            raise StudyError(
                f"{path}: cannot be locked ({error.strerror}); keep the study on a local disk"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        sweep(folder, _LEFTOVERS)
        yield
        file.truncate(0)  # the file stays: removing a lock file lets two processes hold one each


def searching(folder: Path) -> int | None:
    """The process that holds `folder` for a search; None if there is none. Takes no lock itself."""
    try:
        ensure_regular(folder / "search.lock")
        text = (folder / "search.lock").read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    is_number = text.isdecimal() and len(text) < _LONGEST_NUMBER
    return int(text) if is_number and psutil.pid_exists(int(text)) else None
