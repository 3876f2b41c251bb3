"""One search at a time on a study's folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from autoprec.errors import StudyError, cannot
from autoprec.files import ensure_regular, not_following, sweep
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
"""Names of temporary files: they are removed, or renamed once they are whole."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` for one search, after removing what a killed search left half-made.

    Raises `StudyError` that names the process holding it, or if the folder cannot be locked.
    """
    make_folder(folder)
    path = folder / "search.lock"
    try:
        # Not "w": it would erase the holder's number from the file before the lock is even tried.
        file = open(path, "a+", encoding="utf-8", errors="replace", opener=not_following)  # noqa: SIM115
    except OSError as error:
        raise StudyError(cannot(path, error, "make the folder writable")) from error
    with file:
        try:
            # The kernel releases this lock with the process, however that dies. A mere file with a process
            # number would outlive a kill, until another process gets that number.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read(_LONGEST_NUMBER).strip() or "unknown"
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
        try:
            sweep(folder, _LEFTOVERS)
            yield
        finally:
            # The file stays: if it were removed, one process could lock it while another locks its
            # successor.
            file.truncate(0)


def searching(folder: Path) -> int | None:
    """The number of the process that holds `folder` for a search; None if there is none. Takes no lock."""
    try:
        ensure_regular(folder / "search.lock")
        with (folder / "search.lock").open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST_NUMBER + 1).strip()
    except FileNotFoundError:
        return None
    # A killed search leaves its number behind, so the process must also be alive. A longer number is damage,
    # and too large for the kernel's process numbers.
    is_number = text.isdecimal() and len(text) < _LONGEST_NUMBER
    return int(text) if is_number and psutil.pid_exists(int(text)) else None
