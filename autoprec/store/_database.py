"""One database: opening it, its transactions, and its errors in the user's terms."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import optuna
import sqlalchemy as sa
from alembic.util import CommandError

from autoprec.errors import StudyError
from autoprec.store._front import update_fronts
from autoprec.store._optuna import JoiningStorage
from autoprec.store._schema import COUNTED, VERSION, migrate, version_of
from autoprec.store._totals import add_up
from autoprec.store.dialects.dialect import Dialect
from autoprec.store.dialects.postgresql import PostgresqlDialect
from autoprec.store.dialects.sqlite import REASONS, SqliteDialect

for _name in ("sqlalchemy", "psycopg"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
"""Without a handler, the pool's traceback of a Ctrl-C while a connection closes would go to the terminal, and
so would the driver's words on a statement that it cannot cancel."""
T = TypeVar("T")
OPTUNA_TABLES = frozenset({"studies", "trials", "version_info"})
WAIT_SECONDS, OPENING_SECONDS, PAUSE_SECONDS = 120.0, 10.0, 0.5
"""For how long a database that restarts is tried again, one that was not reached before (its address may be
wrong), and the pause between two tries. By the clock: where packets vanish, a try alone takes ten seconds."""


class OutOfReachError(StudyError):
    """The database cannot be reached at the moment; trying again may help."""


class Database:
    """Transactions on one database; `close` frees it.

    Args:
        where: a SQLite file, or an SQLAlchemy address.
        read_only: write nothing, except to migrate a database of an older autoprec; a SQLite file may be in a
            read-only folder.
        say: receives what the user should know.

    Every call may raise `StudyError`: the database is not autoprec's, newer, damaged, locked, read-only,
    full, or out of reach for minutes.
    """

    def __init__(
        self, where: Path | str, *, read_only: bool, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._where, self._say, self._is_told = where, say, False
        self._is_read_only = read_only
        self._dialect = _dialect(where, read_only=read_only)
        self._local = threading.local()
        try:
            version = self.patiently(lambda: self._admitted(read_only), OPENING_SECONDS)
            if not read_only:
                self.patiently(lambda: self._set_up(version))  # which another may be doing: see `setting_up`
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The database's name in messages."""
        return self._dialect.name

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view of the database; inside a transaction or view of this thread, that one."""
        # Nested reads share a view: with a view each, two results that are compared could be of different
        # moments, and a study that others write to would look damaged.
        current = self._current() or getattr(self._local, "view", None)
        if current is not None:
            yield current
            return
        with self._translated(), self._dialect.reader.begin() as connection:
            self._local.view = connection
            try:
                yield connection
            finally:
                self._local.view = None

    @contextmanager
    def writing(self, study: str | None = "") -> Iterator[sa.Connection]:
        """One transaction on a study: commits at the end of the block, rolls back if it raises.

        Transactions on one study run one at a time; None, for a row that only one process writes, waits for
        none of them. Inside another transaction of this thread this joins that one.
        """
        current = self._current()
        if current is not None:
            yield current
            return
        with self._translated(), self._dialect.writer.begin() as connection:
            # Not for heartbeats: a worker must not look dead because others hold the study.
            if study is not None:
                self._dialect.lock(connection, study)
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    def patiently(self, work: Callable[[], T], most_seconds: float | None = None) -> T:
        """Run `work`, a single transaction, repeating it while the database restarts, by default for
        `WAIT_SECONDS`; who only reads loses nothing, and is told sooner.

        If the answer to a commit is lost, `work` runs twice, so it must be idempotent.
        """
        # Part of a transaction: only the whole of it can be repeated, by whoever began it.
        if self._current() is not None:
            return work()
        usual = OPENING_SECONDS if self._is_read_only else WAIT_SECONDS
        most = usual if most_seconds is None else most_seconds
        end = time.monotonic() + most  # noqa: TID251 - nothing is measured by it
        while True:
            try:
                done = work()
            except OutOfReachError as error:
                if time.monotonic() >= end:  # noqa: TID251
                    raise
                self._tell(f"{error}; it is waited for, for {most:.0f} s at most")
                time.sleep(PAUSE_SECONDS)
            else:
                self._is_told = False
                return done

    def _tell(self, words: str) -> None:
        """Say what is waited for, once until it is there again, whichever threads wait."""
        if not self._is_told:
            self._is_told = True
            self._say(words)

    def seconds(self) -> float:
        """The database's clock, in seconds since 1970."""
        with self.reading() as connection:
            return self._dialect.seconds(connection)

    def optuna(self) -> JoiningStorage:
        """Optuna's storage on this database; inside `writing` it takes part in that transaction."""

        def make() -> JoiningStorage:
            options = dict(self._dialect.optuna_options)
            try:
                with self.setting_up():
                    return JoiningStorage(self._dialect.address, engine_kwargs=options)
            # Optuna's check of versions has no class of its own; Alembic's error is of two at once.
            except (RuntimeError, CommandError) as error:
                raise StudyError(
                    f"{self.name}: Optuna's tables are of another version of Optuna than the one that is "
                    "installed; install that one, or let `autoprec doctor --study NAME --repair` rewrite them"
                ) from error

        storage = self.patiently(make)
        storage.join(self._dialect.writer, self._current, self._translated)
        return storage

    @property
    def is_shared(self) -> bool:
        """Whether several processes, on any host, may search in it at once."""
        return self._dialect.is_shared

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """Keep workers that start at once from creating tables at the same time."""
        with self._translated():
            if not self._dialect.is_shared:
                yield  # one search at a time has the folder, and a transaction would keep Optuna out
                return
            with self._dialect.writer.begin() as connection:
                self._dialect.lock(connection, "")
                yield

    def close(self) -> None:
        """Close the database; SQLite then merges its write-ahead log into the file."""
        self._dialect.reader.dispose()

    def _current(self) -> sa.Connection | None:
        connection: sa.Connection | None = getattr(self._local, "connection", None)
        return connection

    def _admitted(self, read_only: bool) -> int:
        """The version of the schema; refuses databases that are not autoprec's, or newer."""
        with self._translated(), self._dialect.admitted() as connection:
            tables = set(sa.inspect(connection).get_table_names())
            version = version_of(connection)
        # Every step of the schema writes its mark along with its tables, so tables without any mark are
        # damage.
        if not version and any(name.startswith("autoprec_") for name in tables):
            raise StudyError(f"{self.name}: {REASONS[sqlite3.SQLITE_CORRUPT]}")
        # A database of Optuna's is welcome, since both sets of tables live side by side.
        if not version and tables and not tables >= OPTUNA_TABLES:
            raise StudyError(
                f"{self.name}: is a database of something else (it holds {', '.join(sorted(tables)[:3])}); "
                "name another folder or another database for the study"
            )
        if version > VERSION:
            raise StudyError(
                f"{self.name}: was written by a newer autoprec (schema {version}, this one knows {VERSION}); "
                "upgrade autoprec, or use another study folder"
            )
        if read_only and not version:
            raise StudyError(f"{self.name}: holds no study yet; `autoprec search` creates one")
        # Readers expect the newest tables, and looking at an older study must not require a search first.
        if read_only and version < VERSION:
            Database(self._where, read_only=False, say=self._say).close()
        return version

    def _set_up(self, version: int) -> None:
        """Prepare the database, and migrate one of an older version."""
        with self._translated():
            # Outside the migration's transaction: SQLite cannot switch its journal mode inside one.
            self._dialect.prepare()
        if version < VERSION:
            with self.writing() as connection:
                self._migrate(connection)
                update_fronts(connection)
                add_up(connection, counted=version >= COUNTED)

    def _migrate(self, connection: sa.Connection) -> None:
        """Raises `StudyError` if the file has tables or columns that its version should not have yet."""
        try:
            migrate(connection, self._dialect.statement)
        except sa.exc.DBAPIError as error:
            if not any(words in str(error.orig) for words in _THERE):
                raise
            raise StudyError(f"{self.name}: {REASONS[sqlite3.SQLITE_CORRUPT]}") from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the database's errors into `StudyError`; faults of autoprec's own statements pass."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, sqlite3.Error, optuna.exceptions.StorageInternalError) as error:
            original = _origin(error)
            if isinstance(original, sa.exc.PendingRollbackError):
                raise OutOfReachError(
                    f"{self.name}: the connection was lost; run the command again"
                ) from error
            if str(error).startswith(_OTHER_TYPE):
                raise StudyError(
                    f"{self.name}: has a column that somebody gave another type; restore a backup"
                ) from error
            reason = self._dialect.reason(original) if original is not None else None
            if reason is None or original is None:
                raise
            kind = OutOfReachError if self._dialect.is_passing(original) else StudyError
            raise kind(f"{self.name}: {reason}") from error
        except UnicodeDecodeError as error:  # from sqlite3 itself, where a message quotes a damaged schema
            raise StudyError(f"{self.name}: {REASONS[sqlite3.SQLITE_CORRUPT]}") from error


_OTHER_TYPE = "Unknown PG numeric type"
"""SQLAlchemy's words for a number that comes as something else."""
_THERE = ("already exists", "duplicate column")
"""SQLite's and PostgreSQL's words for a table or column that is to be added and exists already."""


def _origin(error: BaseException) -> BaseException | None:
    """The driver's own error, or SQLAlchemy's of a broken savepoint; None if neither is in the chain."""
    # Optuna wraps SQLAlchemy's errors. When a connection breaks inside a savepoint, SQLAlchemy reports the
    # savepoint: with the cause as its context, or, from later statements, alone.
    seen: BaseException | None = error
    broken: BaseException | None = None
    while seen is not None:
        if isinstance(seen, sa.exc.PendingRollbackError):
            broken = seen
        if isinstance(seen, sa.exc.DBAPIError) and seen.orig is not None:
            return seen.orig
        if isinstance(seen, sqlite3.Error):
            return seen
        seen = seen.__cause__ or seen.__context__
    return broken


def _dialect(where: Path | str, *, read_only: bool) -> Dialect:
    if isinstance(where, Path):
        return SqliteDialect(where, read_only=read_only)
    if where.startswith("sqlite:///"):
        return SqliteDialect(Path(where.removeprefix("sqlite:///")), read_only=read_only)
    return PostgresqlDialect(where)
