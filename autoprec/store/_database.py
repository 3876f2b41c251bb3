"""One SQLite file: opening it, transactions on it, and what SQLite's errors mean to the user.

Durability: WAL keeps readers (a second terminal, optuna-dashboard) out of the writer's way, and
`synchronous=FULL` flushes each commit, so that not even a power cut loses a finished trial. A flush costs
milliseconds once a trial, and a trial costs seconds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from autoprec.errors import StudyError
from autoprec.store._schema import VERSION, migrate, version_of

BUSY_SECONDS = 10.0
OPTUNA_TABLES = frozenset({"studies", "trials", "version_info"})
REASONS = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database; move it away, or name another folder for the study",
    sqlite3.SQLITE_CORRUPT: "is damaged; `autoprec doctor --study NAME` says what can be saved",
    sqlite3.SQLITE_BUSY: "is locked by another process; close the program that writes to it, then try again",
    sqlite3.SQLITE_READONLY: "is read-only; make the file and its folder writable, or copy the study",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder exists and may be written to",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full; free some space and go on: finished trials are kept",
    sqlite3.SQLITE_IOERR: "cannot be read or written (input/output error); check the disk, then run again",
}
_DAMAGE = ("no such table", "no such column", "duplicate column", "malformed", "Could not decode")
"""What SQLite says of tables that are not as we made them, and of text that is no UTF-8."""


class Database:
    """Transactions on one SQLite file; `close` frees it.

    Args:
        path: the file, made with its folder if it is missing (unless `read_only`).
        read_only: write nothing, but bring a file of an older autoprec up to date; works on a read-only
            folder too.

    Raises `StudyError` from every call: the file is not ours, newer, damaged, locked, read-only, or full.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        if read_only and not path.is_file():
            raise StudyError(f"{path}: no study there; `autoprec search` makes one")
        if path.exists() and not path.is_file():
            raise StudyError(f"{path}: is no file; move it away, or name another folder for the study")
        if not read_only:
            make_folder(path.parent)
        self._reader = _engine(path, read_only)
        self._writer = self._reader.execution_options(begin="BEGIN IMMEDIATE")
        try:
            self._admit(read_only)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view of the file."""
        with _translated(self.path), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction: commits at the end of the block, rolls back if it raises.

        It takes the write lock at once: a read that turns into a write cannot wait for another writer.
        """
        with _translated(self.path), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the file; SQLite then folds its log into it."""
        self._reader.dispose()

    def _admit(self, read_only: bool) -> None:
        """Refuse what is not ours or newer; bring the rest up to date."""
        with self.reading() as connection:
            _refuse_damage(self.path, connection)
            tables = set(sa.inspect(connection).get_table_names())
            version = version_of(connection)
        if not version and any(name.startswith("autoprec_") for name in tables):
            raise StudyError(f"{self.path}: {REASONS[sqlite3.SQLITE_CORRUPT]}")
        if not version and tables and not tables >= OPTUNA_TABLES:
            raise StudyError(
                f"{self.path}: is a database of something else (it holds {', '.join(sorted(tables)[:3])}); "
                "name another folder for the study"
            )
        if version > VERSION:
            raise StudyError(
                f"{self.path}: was written by a newer autoprec (schema {version}, this one knows {VERSION}); "
                "upgrade autoprec, or use another study folder"
            )
        if read_only and not version:
            raise StudyError(f"{self.path}: holds no study yet; `autoprec search` makes one")
        if read_only and version < VERSION:
            Database(self.path, read_only=False).close()
        if not read_only:
            self._use_write_ahead_log()
            if version < VERSION:
                with self.writing() as connection:
                    migrate(connection)

    def _use_write_ahead_log(self) -> None:
        """Switch the file to WAL, which stays; it cannot be done inside a transaction."""
        with _translated(self.path), self._reader.connect() as connection:
            driver = connection.connection
            driver.cursor().execute("PRAGMA journal_mode = WAL")


def _refuse_damage(path: Path, connection: sa.Connection) -> None:
    """SQLite's own look at the whole file: an index that lost a trial would hide it without a word.

    Raises `StudyError`.
    """
    found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if found != "ok":
        raise StudyError(f"{path}: {REASONS[sqlite3.SQLITE_CORRUPT]}")


def make_folder(folder: Path) -> None:
    """Make `folder` with its parents. Raises `StudyError` where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"{folder}: cannot be made ({error.strerror}); name a folder that may be written to"
        ) from error


def _engine(path: Path, read_only: bool) -> sa.Engine:
    mode = "rwc"
    if read_only:
        # WAL needs a file beside the database even to read; without one nobody can be writing to it.
        log = path.with_name(f"{path.name}-wal")
        mode = "ro" if os.access(path.parent, os.W_OK) or log.exists() else "ro&immutable=1"
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        connection.isolation_level = None  # else sqlite3 begins on its own, and too late
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors about the file as `StudyError`; a fault of ours stays what it is."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF  # the upper bits only refine it
        if any(words in str(original) for words in _DAMAGE):
            code = sqlite3.SQLITE_CORRUPT
        if code not in REASONS:
            raise
        raise StudyError(f"{path}: {REASONS[code]}") from error
