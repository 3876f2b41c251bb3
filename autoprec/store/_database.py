"""One database: opening it, transactions on it, and what its errors mean to the user."""

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

from autoprec.errors import StudyError
from autoprec.store._front import update_fronts
from autoprec.store._optuna import JoiningStorage
from autoprec.store._schema import COUNTED, VERSION, migrate, version_of
from autoprec.store._totals import add_up
from autoprec.store.dialects.dialect import Dialect
from autoprec.store.dialects.postgresql import PostgresqlDialect
from autoprec.store.dialects.sqlite import REASONS, SqliteDialect

logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
"""Else its pool prints the traceback of a Ctrl-C that reaches it while a connection closes."""
T = TypeVar("T")
OPTUNA_TABLES = frozenset({"studies", "trials", "version_info"})
TRIES, PAUSE_SECONDS = 240, 0.5
"""A database that restarts is tried this many times."""


class OutOfReachError(StudyError):
    """The database cannot be reached now; it may be in a moment."""


class Database:
    """Transactions on one database; `close` frees it.

    Args:
        where: a SQLite file, or an SQLAlchemy address.
        read_only: write nothing, but bring a database of an older autoprec up to date; a SQLite file may
            then be in a read-only folder.

    Raises `StudyError` from every call: the database is not ours, newer, damaged, locked, read-only, full,
    or out of reach for minutes.
    """

    def __init__(self, where: Path | str, *, read_only: bool) -> None:
        self._where = where
        self._dialect = _dialect(where, read_only=read_only)
        self._local = threading.local()
        try:
            self.patiently(lambda: self._admit(read_only))
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._dialect.name

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view of the database; inside a transaction of this thread, or another view, that
        one's: what is read by two calls and compared must be of one moment."""
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

        Only one is at work on a study at a time; None waits for nobody, for a row that one process alone
        writes. Inside another transaction of this thread it is a part of that.
        """
        current = self._current()
        if current is not None:
            yield current
            return
        with self._translated(), self._dialect.writer.begin() as connection:
            if study is not None:
                self._dialect.lock(connection, study)
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    def patiently(self, work: Callable[[], T]) -> T:
        """Do `work`, which is one transaction, again and again while the database restarts.

        A commit whose answer was lost is done twice: `work` must do no harm then.
        """
        if self._current() is not None:
            return work()
        for _ in range(TRIES):
            try:
                return work()
            except OutOfReachError:
                time.sleep(PAUSE_SECONDS)
        return work()

    def seconds(self) -> float:
        """The database's clock, in seconds since 1970."""
        with self.reading() as connection:
            return self._dialect.seconds(connection)

    def optuna(self) -> JoiningStorage:
        """Optuna's tables in this database. What it does inside `writing` is a part of that transaction."""

        def make() -> JoiningStorage:
            options = dict(self._dialect.optuna_options)
            try:
                with self.setting_up():
                    return JoiningStorage(self._dialect.address, engine_kwargs=options)
            except RuntimeError as error:  # of its check of versions
                raise StudyError(
                    f"{self.name}: Optuna's tables are of another version of Optuna than the one that is "
                    "installed; install that one, or let `autoprec doctor --study NAME --repair` rewrite them"
                ) from error

        storage = self.patiently(make)
        storage.join(self._dialect.writer, self._current)
        return storage

    @property
    def is_shared(self) -> bool:
        """Whether several processes may search in it at a time, on any host."""
        return self._dialect.is_shared

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """Keep others from making tables at the same time: several workers may begin at once."""
        with self._translated():
            if not self._dialect.is_shared:
                yield  # one search at a time has the folder, and a transaction would keep Optuna out
                return
            with self._dialect.writer.begin() as connection:
                self._dialect.lock(connection, "")
                yield

    def close(self) -> None:
        """Close it; SQLite then folds its log into the file."""
        self._dialect.reader.dispose()

    def _current(self) -> sa.Connection | None:
        connection: sa.Connection | None = getattr(self._local, "connection", None)
        return connection

    def _admit(self, read_only: bool) -> None:
        """Refuse what is not ours or newer; bring the rest up to date."""
        with self._translated():
            self._dialect.admit()
        with self.reading() as connection:
            tables = set(sa.inspect(connection).get_table_names())
            version = version_of(connection)
        if not version and any(name.startswith("autoprec_") for name in tables):
            raise StudyError(f"{self.name}: {REASONS[sqlite3.SQLITE_CORRUPT]}")
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
        if read_only and version < VERSION:
            Database(self._where, read_only=False).close()
        if not read_only:
            with self._translated():
                self._dialect.prepare()
            if version < VERSION:
                with self.writing() as connection:
                    self._migrate(connection)
                    update_fronts(connection)
                    add_up(connection, counted=version >= COUNTED)

    def _migrate(self, connection: sa.Connection) -> None:
        """Raises `StudyError` where tables are there that a file of its version has not."""
        try:
            migrate(connection, self._dialect.statement)
        except sa.exc.DBAPIError as error:
            if not any(words in str(error.orig) for words in _THERE):
                raise
            raise StudyError(f"{self.name}: {REASONS[sqlite3.SQLITE_CORRUPT]}") from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The database's errors as `StudyError`; a fault of ours stays what it is."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, sqlite3.Error, optuna.exceptions.StorageInternalError) as error:
            original = _origin(error)
            if isinstance(original, sa.exc.PendingRollbackError):
                raise OutOfReachError(f"{self.name}: the connection broke; start it again") from error
            reason = self._dialect.reason(original) if original is not None else None
            if reason is None or original is None:
                raise
            kind = OutOfReachError if self._dialect.is_passing(original) else StudyError
            raise kind(f"{self.name}: {reason}") from error
        except UnicodeDecodeError as error:  # sqlite3 itself, of a message that quotes a damaged schema
            raise StudyError(f"{self.name}: {REASONS[sqlite3.SQLITE_CORRUPT]}") from error


_THERE = ("already exists", "duplicate column")
"""What SQLite and PostgreSQL say of a table or a column that is to be added."""


def _origin(error: BaseException) -> BaseException | None:
    """The driver's own error. Optuna wraps SQLAlchemy's, and when a connection breaks inside a savepoint
    SQLAlchemy reports the savepoint: with what broke it as the context, or later alone."""
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
