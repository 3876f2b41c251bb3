"""What SQLite keeps beside a file, and plays into it when it opens it: a log (`-wal`) or a journal.

It takes whatever lies there for its own: a log that a copied file finds in its new folder replaces pages of
it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from sqlalchemy.engine.interfaces import DBAPICursor

from autoprec.errors import StudyError

_HEADER_BYTES = 100
_FORM, _WITH_LOG = slice(18, 20), b"\2\2"
_NUMBER = slice(60, 64)
"""Of the header: `PRAGMA user_version`, at random by which a file knows its log."""


def ensure_files(path: Path) -> None:
    """Raises `StudyError` for a link or a pipe that SQLite would follow or wait at, and for the journal of
    another database."""
    for suffix in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if os.path.lexists(beside) and (beside.is_symlink() or not beside.is_file()):
            raise StudyError(f"{beside}: is not a regular file; move it away, and run it again")
    header = _header(path)
    if has_journal(path) and header[_FORM] == _WITH_LOG and any(header[_NUMBER]):
        raise StudyError(
            f"{path}-journal: is another database's, since this one keeps a log; move it away, and run it "
            "again"
        )


def has_journal(path: Path) -> bool:
    """Whether a transaction was cut short in a file that keeps no log, or not yet."""
    with suppress(OSError):
        return path.with_name(f"{path.name}-journal").stat().st_size > 0
    return False


def ensure_own_log(path: Path, number: int) -> None:
    """Raises `StudyError` if the log beside a file is another database's.

    `number` is the file's `user_version` as a connection sees it: through the log.
    """
    own = int.from_bytes(_header(path)[_NUMBER], "big", signed=True)
    # 0: the number itself is still in the log alone, or an older autoprec wrote the file.
    if own and own != number:
        raise StudyError(f"{path}-wal: is another database's log; move it away, and run it again")


def sign_log(cursor: DBAPICursor) -> None:
    """Have the file's number in the log that a transaction writes to: only the first page holds it, and most
    transactions leave that page alone."""
    cursor.execute("PRAGMA user_version")
    (number,) = cursor.fetchall()[0]
    cursor.execute(f"PRAGMA user_version = {number}")


def _header(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(_HEADER_BYTES)
    return b""
