"""What a database's errors mean, what is worth waiting for, and how each kind says the schema's steps."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa

from autoprec.errors import StudyError
from autoprec.store import Store, _database
from autoprec.store._database import Database, OutOfReachError, _origin
from autoprec.store.dialects.postgresql import REASONS, PostgresqlDialect
from autoprec.store.dialects.sqlite import SqliteDialect

POSTGRESQL = PostgresqlDialect.__new__(PostgresqlDialect)
"""As it reads errors, which takes no server and no driver."""


class ServerError(Exception):
    """An error as psycopg raises it: with PostgreSQL's SQLSTATE, or none from a connection that never was."""

    def __init__(self, words: str, sqlstate: str | None = None) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "reason", "is_passing"),
    [
        (ServerError("", "28P01"), REASONS["28"], False),
        (ServerError("", "42P01"), REASONS["42P01"], False),
        (ServerError("", "25001"), REASONS["25"], False),
        (ServerError("", "42883"), None, False),
        (ServerError('database "x" does not exist'), REASONS["3D"], False),
        (ServerError("fe_sendauth: no password supplied"), REASONS["28"], False),
        (ServerError("password authentication failed"), REASONS["28"], False),
        (ServerError("gone\nand more", "57P01"), "cannot be reached (gone); ", True),
        (ServerError("in recovery", "25006"), REASONS["25"], True),
        (ServerError("out of memory", "53200"), REASONS["53"], False),
        (ServerError("disk full", "53100"), REASONS["53100"], False),
        (ServerError("could not read block", "58030"), REASONS["58"], False),
        (ServerError("invalid page", "XX001"), REASONS["XX"], False),
        (ServerError("dropped", "57P04"), REASONS["57P04"], False),
        (ServerError("deadlock detected", "40P01"), "cannot be reached (deadlock detected); ", True),
        (ServerError("lock timeout", "55P03"), REASONS["55P03"], True),
        (ServerError("idle-in-transaction timeout", "25P03"), REASONS["25P03"], True),
        (ServerError("too many clients", "53300"), REASONS["53300"], True),
        (ServerError("sorry, too many clients already"), REASONS["53300"], True),
        (ServerError("boom\nCONTEXT: mine()", "P0001"), "refuses a row (boom); ", False),
        (ServerError("statement timeout", "57014"), "cannot be reached (statement timeout); ", True),
        (ServerError("connection refused"), "cannot be reached (connection refused); ", True),
        (ServerError(""), "cannot be reached (ServerError); ", True),
    ],
    ids=str,
)
def test_a_servers_errors_are_told_and_those_that_pass_are_waited_for(
    error: ServerError, reason: str | None, is_passing: bool
) -> None:
    told = POSTGRESQL.reason(error)
    assert told == reason or (reason is not None and (told or "").startswith(reason))
    assert POSTGRESQL.is_passing(error) is is_passing


def test_steps_of_the_schema_are_said_in_postgresqls_words() -> None:
    step = "CREATE TABLE t (id INTEGER PRIMARY KEY, a REAL, b BLOB, REALITY TEXT)"
    assert POSTGRESQL.statement(step) == (
        "CREATE TABLE t (id SERIAL PRIMARY KEY, a DOUBLE PRECISION, b BYTEA, REALITY TEXT)"
    )


def test_an_address_is_shown_without_its_password() -> None:
    pytest.importorskip("psycopg")
    dialect = PostgresqlDialect("postgresql+psycopg://me:secret@host/studies")
    assert (dialect.name, "secret" in dialect.address) == ("postgresql+psycopg://me:***@host/studies", True)
    assert (dialect.is_shared, SqliteDialect.is_shared) == (True, False)
    assert dialect.reader.get_execution_options()["isolation_level"] == "REPEATABLE READ"
    assert dialect.writer.get_execution_options()["isolation_level"] == "READ COMMITTED"


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        (sqlite3.SQLITE_IOERR | 1 << 8, "disk I/O error", "input/output error"),
        (sqlite3.SQLITE_BUSY | 2 << 8, "database is locked", "is locked by another process"),
        (sqlite3.SQLITE_ERROR, "no such table: autoprec_front", "is damaged"),
        (sqlite3.SQLITE_ERROR, "syntax error", None),
    ],
)
def test_sqlites_errors_are_told_by_their_kind(
    code: int, words: str, says: str | None, tmp_path: Path
) -> None:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    dialect = SqliteDialect(tmp_path / "study.db", read_only=False)
    assert says in (dialect.reason(error) or "") if says else dialect.reason(error) is None
    assert not dialect.is_passing(error)
    assert dialect.statement("a REAL, b BLOB") == "a REAL, b BLOB"


def test_a_database_out_of_reach_is_tried_again_for_as_long_as_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_database, "PAUSE_SECONDS", 0.0)
    said, calls = list[str](), list[int]()
    database = Database(tmp_path / "study.db", read_only=False, say=said.append)

    def work(failures: int) -> str:
        calls.append(failures)
        if len(calls) <= failures:
            raise OutOfReachError("the server is away")
        return "done"

    assert database.patiently(lambda: work(3)) == "done"
    assert (len(calls), said) == (4, ["the server is away; it is waited for, for 120 s at most"])
    calls.clear()
    with pytest.raises(OutOfReachError):  # each try may take as long as the network's limit
        database.patiently(lambda: work(1), 0.0)
    assert len(calls) == 1
    calls.clear()
    with database.writing("demo"), pytest.raises(OutOfReachError):
        database.patiently(lambda: work(1))  # the whole transaction is tried again, not a part of it
    assert len(calls) == 1
    database.close()


def test_a_files_clock_is_the_machines(tmp_path: Path) -> None:
    database = Database(tmp_path / "study.db", read_only=False)
    assert abs(database.seconds() - time.time()) < 60  # noqa: TID251 - the clock is what is tested
    database.close()


def test_a_transaction_inside_another_is_a_part_of_it(tmp_path: Path) -> None:
    def write_and_fail(store: Store) -> None:
        with store.transaction("demo"):
            with store.transaction("demo"):
                store.put_fact("demo", "sensitivity", "stem", 0.5)
            assert store.fact("demo", "sensitivity", "stem", float) == 0.5
            raise InterruptedError

    with Store.open(tmp_path / "study.db") as store:
        with pytest.raises(InterruptedError):
            write_and_fail(store)
        assert store.fact("demo", "sensitivity", "stem", float) is None
        with pytest.raises(StudyError, match="nothing is measured yet"):
            store.identity("demo")


def test_the_drivers_error_is_found_behind_all_that_wraps_it() -> None:
    driver = sqlite3.OperationalError("disk I/O error")
    statement = sa.exc.OperationalError("SELECT 1", {}, driver)
    of_optuna, savepoint, alone = (
        optuna.exceptions.StorageInternalError(),
        sa.exc.PendingRollbackError(),
        sa.exc.PendingRollbackError(),
    )
    of_optuna.__cause__, savepoint.__context__ = statement, statement
    assert [_origin(error) for error in (statement, of_optuna, savepoint)] == [driver] * 3
    assert _origin(alone) is alone, "a broken savepoint tells nothing else"
    assert _origin(RuntimeError()) is None
