"""A PostgreSQL database with one or more studies, for workers on several machines.

Durability is the server's (`synchronous_commit` is on unless somebody turned it off). Writers of one study
wait for one another at an advisory lock, as SQLite's writers do at the file: what a transaction bases its
decisions on (the front, the next number, who may take a trial) then still holds when it commits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from autoprec.errors import StudyError, how_to_install

CONNECT_SECONDS = 10
IDLE_SECONDS = 60
"""The server aborts a transaction that stays idle for this long: its worker's host may have vanished, and all
others wait for its lock. Equal to the time for which a worker's leases outlast its heartbeats."""
LOCK_SECONDS = 15
"""Then a lock is asked for anew, and the user is told: writers hold theirs for moments."""
_NETWORK = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""libpq's options to notice within a minute that a server has vanished. By default the kernel takes two
hours."""
_LIMITS = """SELECT set_config(name, value, false) FROM pg_settings JOIN (VALUES
    ('idle_in_transaction_session_timeout', %(idle)s), ('idle_session_timeout', '0'),
    ('lock_timeout', %(lock)s), ('transaction_timeout', '0')
) AS ours (name, value) USING (name)"""
"""Who searches for hours sits idle between trials. Not every version of the server has all of these."""
_READ_ONLY = "SELECT current_setting('transaction_read_only')::bool AND NOT pg_is_in_recovery()"
_LOCKS = 0x6175746F
"""First half of the key of our advisory locks ("auto" in ASCII); the second is a hash of the study's name."""
_IN_RECOVERY = "25006"
_PASSING = (
    "08", "57P01", "57P02", "57P03", "57P05", "53300", _IN_RECOVERY, "25P03", "40001", "40P01", "55P03",
    "57014",
)  # fmt: skip
"""SQLSTATEs of passing errors: connection lost, shut down, starting up, idle for too long (as a session, as a
transaction), too many connections, in recovery; a transaction that lost to others, or was cancelled."""
REASONS = {
    "28": "refuses this user or password; fix the address that `storage` or `--storage` gives",
    "22P05": "lacks characters of the study's: its encoding is not UTF8; make one with `createdb -E UTF8`",
    "3F": "has no schema where this user's `search_path` leads; name one that is there, as public",
    "3D": "does not exist; create it with `createdb`, or name another database",
    "42501": "does not let this user create or write tables; `GRANT CREATE, USAGE ON SCHEMA public`",
    "42P01": "has lost a table of autoprec's; restore a backup",
    "42703": "has lost a column of autoprec's; restore a backup",
    "53300": "has no connection left; end other programs, or raise its `max_connections`",
    "53100": "has no space left on its disk; free some and resume: finished trials are kept",
    "53": "is at a limit of its server's, such as memory; raise it and resume: finished trials are kept",
    "55P03": "is locked by another program; let that end, or end it, and run it again",
    "57P04": "was dropped; restore a backup, or name another database",
    "58": "has a fault of its server's files; see the server's log, then resume: finished trials are kept",
    "XX": "is damaged, or its server is at fault; see the server's log, and restore a backup if need be",
    "25P03": "ended a transaction that was idle for too long; run it again: finished trials are kept",
    "25": "is read-only; name the primary server, or give this user the right to write",
}
_RULES = ("22", "23", "38", "39", "428C9", "42804", "42809", "44", "55000", "P0")
"""SQLSTATEs of rules that are none of autoprec's tables: triggers, constraints, views, other types of a
column."""

_SAID = {
    "28": "authentication failed|no password supplied|not permitted to log in|no pg_hba.conf entry|"
    'role ".*" does not exist|permission denied for database',
    "3D": "does not exist",
    "53300": "too many clients|connection slots|too many connections",
}
"""Words by which a server refuses a connection, of which the driver gives no code."""


class PostgresqlDialect:
    """See `Dialect`.

    Args:
        address: an SQLAlchemy URL, such as `postgresql+psycopg://user@host/database`.

    Raises `StudyError` for an invalid address, or a driver that is not installed.
    """

    is_shared = True

    def __init__(self, address: str) -> None:
        try:
            url = sa.make_url(address)
            connect = _connecting(url)
            base = sa.create_engine(url, pool_pre_ping=True, creator=connect)
        except (ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
            raise StudyError(
                f"storage {url.drivername!r} cannot be used here ({error}); "
                f"{how_to_install('postgresql')}, and write the address as `postgresql+psycopg://...`"
            ) from error
        except (sa.exc.ArgumentError, ValueError) as error:  # a port that is no number, say
            raise StudyError(
                f"storage {address.rsplit('@', maxsplit=1)[-1]!r} is not an address; give one as "
                "`postgresql+psycopg://user@host/database`"
            ) from error
        if url.get_backend_name() != "postgresql":
            raise StudyError(
                f"storage {url.drivername!r} is no PostgreSQL; give `postgresql+psycopg://user@host/name` "
                "or `sqlite:///path/of/a/file.db`"
            )
        self.name = url.render_as_string(hide_password=True)
        self.address = url.render_as_string(hide_password=False)
        self.optuna_options: dict[str, object] = {"creator": connect}
        self.reader: sa.Engine = base.execution_options(isolation_level="REPEATABLE READ")
        # Each statement sees what was committed before it, so after the lock what its last holder wrote. One
        # snapshot for the whole transaction would be older than the lock.
        self.writer: sa.Engine = base.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def admitted(self) -> Iterator[sa.Connection]:
        """See `Dialect`; the server looks after its files."""
        with self.reader.begin() as connection:
            yield connection

    def prepare(self) -> None:
        """Raises `StudyError` where this user may only read; a server in recovery may be about to end it."""
        with self.reader.connect() as connection:
            if connection.exec_driver_sql(_READ_ONLY).scalar_one():
                raise StudyError(f"{self.name}: {REASONS['25']}")

    def lock(self, connection: sa.Connection, study: str) -> None:
        """Take the study's advisory lock until the transaction ends."""
        # The server frees it with the connection, so a worker that dies holds nobody up.
        take = sa.text("SELECT pg_advisory_xact_lock(:first, hashtext(:study))")
        connection.execute(take, {"first": _LOCKS, "study": study})

    def statement(self, text: str) -> str:
        """A statement in PostgreSQL's SQL."""
        # Only SQLite numbers an integer primary key by itself; its REAL has 8 bytes, PostgreSQL's only 4.
        numbered = text.replace("id INTEGER PRIMARY KEY", "id SERIAL PRIMARY KEY")
        sized = re.sub(r"\bREAL\b", "DOUBLE PRECISION", numbered)
        return re.sub(r"\bBLOB\b", "BYTEA", sized)

    def seconds(self, connection: sa.Connection) -> float:
        """See `Dialect`."""
        # Not now(), which stands still from the beginning of a transaction.
        return float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())

    def reason(self, error: BaseException) -> str | None:
        """See `Dialect`: by SQLSTATE, or by its words where no connection came about."""
        state = getattr(error, "sqlstate", None)
        advice = next((words for code, words in REASONS.items() if str(state).startswith(code)), None)
        words = str(error)
        line = words.strip().splitlines()[0] if words.strip() else type(error).__name__
        if advice is None and str(state).startswith(_RULES):
            return f"refuses a row ({line}); remove what was added to autoprec's tables, or restore a backup"
        if advice is not None or (state is not None and not str(state).startswith(_PASSING)):
            return advice
        code = next((code for code, said in _SAID.items() if re.search(said, words)), None)
        if code is not None:
            return REASONS[code]
        return f"cannot be reached ({line}); start the server, or fix the address"

    def is_passing(self, error: BaseException) -> bool:
        """See `Dialect`: a server that restarts, or a network that comes back."""
        state = getattr(error, "sqlstate", None)
        if state is not None:
            return str(state).startswith(_PASSING)
        return self.reason(error) not in (REASONS["3D"], REASONS["28"])


def _connecting(url: sa.URL) -> Callable[[], Any]:
    """What makes a connection of the driver, with limits of ours: its role's may be a second."""
    dialect = url.get_dialect()()
    driver: Any = dialect.import_dbapi()
    places, words = dialect.create_connect_args(url)
    # Or it is the database's, or that of PGCLIENTENCODING: of SQL_ASCII, texts would come as bytes.
    words = {**_NETWORK, **words, "client_encoding": "UTF8"}

    def connect() -> Any:
        try:
            connection = driver.connect(*places, **words)
        except (TypeError, ValueError, AttributeError) as error:  # of an option, or a host with no such name
            raise StudyError(
                f"{url.render_as_string()[:200]}: is not an address ({error}); correct its host and options"
            ) from error
        # By a statement, not by an option of connecting, which poolers between here and the server refuse.
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET statement_timeout = 0")  # first: the next statement takes some milliseconds
        cursor.execute(_LIMITS, {"idle": f"{IDLE_SECONDS}s", "lock": f"{LOCK_SECONDS}s"})
        connection.autocommit = False
        return connection

    return connect
