"""What the administrator of a PostgreSQL server has set for a role or a database."""

from __future__ import annotations

import time

import msgspec
import pytest
import sqlalchemy as sa
from optuna.study import StudyDirection

from autoprec.errors import StudyError
from autoprec.store import Store, _database
from autoprec.store.dialects import postgresql
from postgresql_server import PostgresqlServer
from trial_records import BLOCKS, IDENTITY, complete

RAISING = """CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
CREATE TRIGGER mine BEFORE INSERT ON autoprec_trials FOR EACH ROW EXECUTE FUNCTION mine()"""


def as_role(server: PostgresqlServer, name: str, *statements: str) -> str:
    """The address of a new database as a new role uses it, of which each statement is an `ALTER ROLE`."""
    address = server.new_database()
    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN SUPERUSER")
        for statement in statements:
            connection.exec_driver_sql(f"ALTER ROLE {name} {statement}")
    engine.dispose()
    return address.replace("autoprec@", f"{name}@")


def test_time_limits_of_a_role_end_no_search(server: PostgresqlServer) -> None:
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    address = as_role(server, "hurried", *(f"SET {limit} = '3ms'" for limit in limits))
    with Store.open(address) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.optuna()
        with store.transaction("demo"):
            time.sleep(0.1)
            store.finish(complete(0, 5.0, 0.01))
        assert [trial.number for trial in store.trials("demo")] == [0]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("SET default_transaction_read_only = on", "is read-only; name the primary server"),
        ("SET search_path = nowhere", "has no schema where this user's `search_path` leads"),
        ("NOLOGIN", "refuses this user or password"),
        ("RENAME TO somebody", "refuses this user or password"),
    ],
)
def test_a_role_that_may_not_search_is_told_so_at_once(
    statement: str, words: str, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: float) -> None:
        pytest.fail("what does not pass is waited for")

    monkeypatch.setattr("autoprec.store._database.time.sleep", wait)
    address = as_role(server, "refused", statement)
    with pytest.raises(StudyError, match=words):
        Store.open(address)


def with_encoding(server: PostgresqlServer, encoding: str) -> str:
    """The address of a new database of this encoding."""
    name = f"in_{encoding.lower()}"
    engine = sa.create_engine(server.address(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'"
        )
    engine.dispose()
    return server.address(name)


@pytest.mark.parametrize(("encoding", "name"), [("SQL_ASCII", "größe 模型"), ("LATIN1", "größe")])
def test_a_database_holds_what_its_encoding_can_hold(
    encoding: str, name: str, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = with_encoding(server, encoding)
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    trial = msgspec.structs.replace(complete(0, 5.0, 0.01), study=name)
    with Store.open(address) as store:
        store.bind(name, IDENTITY, BLOCKS)
        store.optuna().create_new_study([StudyDirection.MINIMIZE], name)
        store.finish(trial)
        assert store.trials(name) == (trial,)


def test_a_name_that_an_encoding_lacks_is_told(server: PostgresqlServer) -> None:
    with (
        Store.open(with_encoding(server, "LATIN1")) as store,
        pytest.raises(StudyError, match="its encoding is not UTF8"),
    ):
        store.bind("模型", IDENTITY, BLOCKS)


def test_a_lock_that_another_program_holds_is_told_to_a_reader(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LOCK_SECONDS", 1)
    monkeypatch.setattr(_database, "OPENING_SECONDS", 0.0)
    monkeypatch.setattr(_database, "WAIT_SECONDS", 600.0)
    address = server.new_database()
    engine = sa.create_engine(address)
    with Store.open(address) as store:
        store.bind("demo", IDENTITY, BLOCKS)
    with Store.open(address, read_only=True) as store, engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE autoprec_trials IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StudyError, match="is locked by another program"):
            store.trials("demo")
    engine.dispose()


def test_a_database_that_another_search_sets_up_is_waited_for(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LOCK_SECONDS", 1)
    monkeypatch.setattr(_database, "OPENING_SECONDS", 0.0)
    address = server.new_database()
    dialect = postgresql.PostgresqlDialect(address)
    with dialect.writer.connect() as other:
        dialect.lock(other, "")
        with Store.open(address, say=lambda _: other.rollback()) as store:
            assert store.studies() == ()
    dialect.writer.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE autoprec_trials ADD CHECK (number < 0)",
        "ALTER TABLE autoprec_trials ADD mine int NOT NULL",
        "ALTER TABLE autoprec_trials ALTER record TYPE varchar(20)",
        RAISING,
    ],
)
def test_a_rule_that_somebody_added_is_told(statement: str, server: PostgresqlServer) -> None:
    address = server.new_database()
    with Store.open(address) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        engine = sa.create_engine(address)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()
        with pytest.raises(StudyError, match="refuses a row"):
            store.finish(complete(0, 5.0, 0.01))


def test_a_column_that_somebody_gave_another_type_is_told(server: PostgresqlServer) -> None:
    address = server.new_database()
    with Store.open(address) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.finish(complete(0, 5.0, 0.01))
        engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("ALTER TABLE autoprec_trials ALTER COLUMN loss TYPE text")
        engine.dispose()
        with pytest.raises(StudyError, match="another type; restore a backup"):
            store.trials("demo")
