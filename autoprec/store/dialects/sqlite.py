"""One SQLite file: the embedded database of a study.

WAL keeps readers (a second terminal, optuna-dashboard) out of the writer's way, and each commit is flushed to
disk, so that not even a power cut loses a finished trial.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from autoprec.errors import StudyError, cannot
from autoprec.store.dialects.journals import ensure_files, ensure_own_log, has_journal, sign_log

BUSY_SECONDS = 10.0
REASONS = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database; move it away, or name another folder for the study",
    sqlite3.SQLITE_CORRUPT: "is damaged; `autoprec doctor --study NAME` says what can be recovered",
    sqlite3.SQLITE_BUSY: "is locked by another process; close the program that writes to it, then try again",
    sqlite3.SQLITE_READONLY: "is read-only; make the file and its folder writable, or copy the study",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; free space and resume: finished trials are kept",
    sqlite3.SQLITE_CONSTRAINT: "refuses a row, for damage or by a rule that autoprec did not make; "
    "`autoprec doctor --study NAME` says what can be recovered",
    sqlite3.SQLITE_IOERR: "cannot be read or written (input/output error); check the disk, then run again",
}
_DAMAGE = (
    "no such table",
    "no such column",
    "duplicate column",
    "malformed",
    "unsupported file format",
    "Could not decode",
    "generated column",
    "has no column named",
    "foreign key mismatch",
    "ON CONFLICT clause",
    "because it is a view",
    "may not be modified",
)
"""SQLite's words for tables that are not as autoprec made them, and for text that is not UTF-8."""
_LOG_BYTES = 64 << 10
"""Room for the index of the log, which has 32 KiB at least, and for a first page."""
_FOREIGN = "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view') LIMIT 1"
_CLOCK = "SELECT (julianday('now') - 2440587.5) * 86400.0"


class SqliteDialect:
    """See `Dialect`.

    Args:
        path: the file, created along with its folder if missing, unless `read_only`.
        read_only: write nothing; works in a read-only folder too.

    Raises `StudyError` for a path that cannot hold a database.
    """

    is_shared = False

    def __init__(self, path: Path, *, read_only: bool) -> None:
        if read_only and not path.is_file():
            raise StudyError(f"{path}: no study there; `autoprec search` creates one")
        if path.is_symlink():
            raise StudyError(
                f"{path}: is a link, and none is followed there; name the folder of the file itself"
            )
        if path.exists() and not path.is_file():
            raise StudyError(f"{path}: is not a file; move it away, or name another folder for the study")
        if not read_only:
            make_folder(path.parent)
        self.name = str(path)
        self._path, self._is_read_only = path.absolute(), read_only
        self._file: tuple[int, int] | None = None
        # Unquoted, a path with `?`, `#` or `%` in it would name another file.
        self.address = f"sqlite:///{quote(str(path.absolute()))}"
        self.optuna_options: dict[str, object] = {"connect_args": {"timeout": 30}}
        self.reader: sa.Engine = _engine(path, read_only)
        # The write lock is taken at once: a read that turns into a write cannot wait for another writer.
        self.writer: sa.Engine = self.reader.execution_options(begin="BEGIN IMMEDIATE")

    @contextmanager
    def admitted(self) -> Iterator[sa.Connection]:
        """See `Dialect`; raises `StudyError` also for triggers, views, and others' files beside this one."""
        ensure_files(self._path)
        # A connection that may write plays what lies beside the file into it, be it another database's.
        is_new = not self._path.exists() or has_journal(self._path)
        looker = _engine(self._path, read_only=self._is_read_only or not is_new)
        try:
            with looker.begin() as connection:
                ensure_own_log(self._path, connection.exec_driver_sql("PRAGMA user_version").scalar_one())
                self._ensure_ours(connection)
                self._ensure_sound(connection)
                self._file = self._identity()
                yield connection
        finally:
            looker.dispose()

    def _ensure_ours(self, connection: sa.Connection) -> None:
        """What a query or a write does must not be somebody else's choice."""
        foreign = connection.exec_driver_sql(_FOREIGN).first()
        if foreign is not None:
            raise StudyError(
                f"{self.name}: has the {foreign.type} {foreign.name!r}, which autoprec did not make; "
                "remove it with sqlite3, or use a copy of the file without it"
            )

    def _ensure_sound(self, connection: sa.Connection) -> None:
        # An index that lost a trial hides it from queries without an error, and so does a trial without its
        # study.
        verdict = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        strays = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if verdict != "ok" or any(str(table).startswith("autoprec_") for table, *_ in strays):
            raise StudyError(f"{self.name}: {REASONS[sqlite3.SQLITE_CORRUPT]}")

    def prepare(self) -> None:
        """Switch the file to WAL, permanently, and number it: see `ensure_own_log`."""
        with self.reader.connect() as connection:
            # Through the driver, since SQLAlchemy would begin a transaction, inside which SQLite refuses
            # the switch.
            cursor = connection.connection.cursor()
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA user_version")
            if cursor.fetchall() == [(0,)]:
                cursor.execute(f"PRAGMA user_version = {secrets.randbelow(1 << 31) or 1}")

    def lock(self, connection: sa.Connection, study: str) -> None:  # noqa: ARG002 - the protocol's signature
        """Nothing is to be locked: a writing transaction locks the whole file.

        Raises `StudyError` if the file was deleted or replaced, as what is written would be lost with it, or
        has been given a trigger since.
        """
        self._ensure_ours(connection)
        if self._identity() != self._file:
            raise StudyError(
                f"{self.name}: was deleted or replaced while it was in use; run it again to resume from the "
                "file that is there now"
            )

    def _identity(self) -> tuple[int, int] | None:
        """The file that has the path now."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def statement(self, text: str) -> str:
        """The statement itself."""
        return text

    def seconds(self, connection: sa.Connection) -> float:
        """The clock of the machine, since a file is on only one."""
        return float(connection.exec_driver_sql(_CLOCK).scalar_one())

    def reason(self, error: BaseException) -> str | None:
        """See `Dialect`: by SQLite's code or words."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits only refine it
        if any(words in str(error) for words in _DAMAGE):
            code = sqlite3.SQLITE_CORRUPT
        if code == sqlite3.SQLITE_IOERR and self._is_full():
            code = sqlite3.SQLITE_FULL
        return REASONS.get(code)

    def _is_full(self) -> bool:
        """Whether the disk has no room for what SQLite makes beside the file, which it calls an I/O error."""
        try:
            return shutil.disk_usage(self._path.parent).free < _LOG_BYTES
        except OSError:
            return False

    def is_passing(self, error: BaseException) -> bool:  # noqa: ARG002 - the protocol's signature
        """Never: a file fails the same way again, and locks have been waited for."""
        return False


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents. Raises `StudyError` if that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(cannot(folder, error, "name a writable folder", what="be created")) from error


def _engine(path: Path, read_only: bool) -> sa.Engine:
    mode = "rwc"
    if read_only:
        # With WAL even reading needs a file beside the database. In a read-only folder without one
        # nobody can be writing, and `immutable` lets SQLite do without.
        log = path.with_name(f"{path.name}-wal")
        mode = "ro" if os.access(path.parent, os.W_OK) or log.exists() else "ro&immutable=1"
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        # Or sqlite3 would begin transactions itself, at the first write: later than the reads it depends on.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        # NORMAL, which is usual with WAL, may lose the last commits in a power cut. FULL costs a flush of
        # milliseconds once a trial, and trials take seconds.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    # SQLAlchemy takes this address for a database in memory, and would let all threads share one connection.
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("begin")
        connection.exec_driver_sql(writes or "BEGIN")
        if writes:
            sign_log(connection.connection.cursor())

    return engine
