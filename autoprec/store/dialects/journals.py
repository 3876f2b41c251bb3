"""What SQLite keeps beside a file, and plays into it when it opens it: a log (`-wal`) or a journal.

It takes whatever lies there for its own: a log that a copied file finds in its new folder replaces pages of
it.

No database may be opened and closed here but by SQLite: with that, the system takes away the locks of all
connections that this process has to it, and whoever closes it next removes the log that they write to.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

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
    if has_journal(path) and _keeps_numbered_log(path):
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
    own = 0
    address = (
        f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"  # what is in the file, without its log
    )
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as file:
        (own,) = file.execute("PRAGMA user_version").fetchone()
    # 0: the number itself is still in the log alone, or an older autoprec wrote the file.
    if own and own != number:
        raise StudyError(f"{path}-wal: is another database's log; move it away, and run it again")


def sign_log(cursor: DBAPICursor) -> None:
    """Have the file's number in the log that a transaction writes to: only the first page holds it, and most
    transactions leave that page alone."""
    cursor.execute("PRAGMA user_version")
    (number,) = cursor.fetchall()[0]
    cursor.execute(f"PRAGMA user_version = {number}")


def _keeps_numbered_log(path: Path) -> bool:
    with suppress(OSError):
        # Left open: see above.
        header = os.pread(os.open(path, os.O_RDONLY | os.O_CLOEXEC), _HEADER_BYTES, 0)
        return header[_FORM] == _WITH_LOG and any(header[_NUMBER])
    return False
