"""Several processes in one study: what one has taken is its own while it lives, and free when it is dead."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from autoprec.errors import StudyError
from autoprec.records import Doing
from autoprec.store import Store, _database, _workers, exclusive, searching
from autoprec.store._database import OutOfReachError
from autoprec.store.dialects import postgresql
from postgresql_server import PostgresqlServer
from store_places import rows
from trial_records import BLOCKS, IDENTITY, complete, running

HOLD = """
import sys; from pathlib import Path; from autoprec.store import Store
where = sys.argv[1] if ":" in sys.argv[1] else Path(sys.argv[1])
me = Store.open(where).join("demo", ("gpu 0",), "1")
me.enter(); print(me.take("trial 3"), flush=True); sys.stdin.read()
"""


def holder(where: Path | str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HOLD, str(where)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"True\n"
    return process


def test_what_a_living_worker_has_nobody_takes_and_what_a_dead_one_had_is_free(where: Path | str) -> None:
    with Store.open(where) as store, holder(where) as other:
        me = store.join("demo", ("gpu 1",), "1")
        me.enter()
        assert not me.take("trial 3")
        assert {worker.devices for worker in store.workers("demo")} == {("gpu 0",), ("gpu 1",)}
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert me.take("trial 3")
        assert me.take("trial 3")
        assert [worker.devices for worker in store.workers("demo")] == [("gpu 1",)]


def test_who_leaves_sweeps_up_what_the_dead_had_taken(where: Path | str) -> None:
    with Store.open(where) as store, holder(where) as other:
        me = store.join("demo", (), "1")
        me.enter()
        me.take("preparation")
        other.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie until it is waited for
        me.leave()
        assert rows(where, "SELECT name FROM autoprec_leases") == []
        assert rows(where, "SELECT id FROM autoprec_workers") == []


def test_a_folder_is_free_after_a_search_even_in_the_same_process(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        assert searching(tmp_path) == os.getpid()
    assert searching(tmp_path) is None


def test_the_number_that_a_killed_search_leaves_behind_holds_nothing(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    (tmp_path / "search.lock").write_text(f"{killed.pid}\n")
    assert searching(tmp_path) is None


def test_a_worker_on_another_host_is_dead_when_its_lease_runs_out(
    where: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_workers, "host", lambda: "elsewhere 1 2")
    with Store.open(where) as store:
        away = store.join("demo", (), "1")
        away.enter()
        assert away.take("preparation")
        monkeypatch.undo()
        me = store.join("demo", (), "1")
        me.enter()
        assert not me.take("preparation")
        monkeypatch.setattr(_workers, "LEASE_SECONDS", 0.0)
        assert me.take("preparation")
        monkeypatch.undo()
        away.beat(())
        assert not away.holds("preparation")


def test_a_process_that_has_the_number_of_a_dead_one_is_not_it(
    where: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_workers, "_process", lambda: f"{os.getpid()} 1.00")
    with Store.open(where) as store:
        dead = store.join("demo", (), "1")
        dead.enter()
        assert dead.take("preparation")
        monkeypatch.undo()
        assert store.join("demo", (), "1").take("preparation")


def test_another_version_of_autoprec_is_refused_by_name(where: Path | str) -> None:
    with Store.open(where) as store:
        store.join("demo", (), "0.1.0").enter()
        with pytest.raises(StudyError, match=r"searched with autoprec 0\.1\.0 on .*this is 0\.2\.0"):
            store.join("demo", (), "0.2.0").enter()


def test_a_clock_that_is_wrong_is_refused(where: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workers, "CLOCKS_SECONDS", -1.0)
    with Store.open(where) as store, pytest.raises(StudyError, match="s apart; synchronise both"):
        store.join("demo", (), "1").enter()


def test_optuna_and_the_evidence_are_one_transaction(where: Path | str) -> None:
    with Store.open(where) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        storage = store.optuna()
        study = optuna.create_study(
            storage=storage, study_name="demo", directions=["minimize", "minimize"], load_if_exists=True
        )

        def both(number: int) -> None:
            with store.transaction("demo"):
                study.tell(study.ask(), (5.0, 0.01))
                store.finish(complete(number, 5.0, 0.01))
                if number:
                    raise InterruptedError

        both(0)
        with pytest.raises(InterruptedError):
            both(1)
        assert [trial.number for trial in store.trials("demo")] == [0]
        assert len(storage.get_all_trials(study._study_id)) == 1


def test_a_transaction_that_is_left_alone_holds_nobody_up(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "IDLE_SECONDS", 1)
    address = server.new_database()
    with Store.open(address) as gone, Store.open(address) as store:
        store.bind("demo", IDENTITY, BLOCKS)

        def leave_alone() -> None:
            with gone.transaction("demo"):
                store.begin(running(0))  # waits for the lock
                gone.begin(running(1))

        with pytest.raises(OutOfReachError):
            leave_alone()
        gone.begin(running(1))
        assert [trial.number for trial in store.running("demo")] == [0, 1]


def test_what_is_read_and_compared_is_of_one_moment(where: Path | str) -> None:
    with Store.open(where) as reader, Store.open(where) as writer:
        writer.bind("demo", IDENTITY, BLOCKS)
        with reader._database.reading():
            assert reader.trials("demo") == ()
            writer.finish(complete(0, 5.0, 0.01))
            assert reader.trials("demo") == ()
        assert [trial.number for trial in reader.trials("demo")] == [0]


def test_a_server_that_restarts_is_waited_for(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_database, "PAUSE_SECONDS", 0.05)
    with Store.open(server.new_database()) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        server.stop()
        server.start()
        store.begin(running(0))
        server.stop()
        monkeypatch.setattr(_database, "WAIT_SECONDS", 0.1)
        with pytest.raises(StudyError, match="cannot be reached"):
            store.finish(complete(0, 5.0, 0.01))
        server.start()
        store.finish(complete(0, 5.0, 0.01))
        assert [trial.number for trial in store.front("demo")] == [0]


def test_connections_that_the_server_has_closed_are_replaced(server: PostgresqlServer) -> None:
    address = server.new_database()
    close = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
    close += "datname = current_database()"
    with Store.open(address) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        storage = store.optuna()
        optuna.create_study(storage=storage, study_name="demo", directions=["minimize", "minimize"])
        assert {*rows(address, close)} == {(True,)}
        assert [study.study_name for study in storage.get_all_studies()] == ["demo"]
        assert {*rows(address, close)} == {(True,)}
        with store.transaction("demo"):
            store.begin(running(0))
        assert [trial.number for trial in store.running("demo")] == [0]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "is not an address"),
        ("postgresql+psycopg://user@host:port/name", "'host:port/name' is not an address"),
        (f"postgresql+psycopg://{'a' * 999}/name", r"is not an address \(encoding with 'idna'"),
        ("sqlite://", "'sqlite' is no PostgreSQL"),
        ("oracle+nothing://a/b", "cannot be used here"),
        ("postgresql+psycopg://autoprec@/demo?host=/nowhere", "cannot be reached"),
    ],
)
def test_an_address_that_leads_nowhere_is_told(
    address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setattr(_database, "OPENING_SECONDS", 0.0)
    with pytest.raises(StudyError, match=words):
        Store.open(address)


def test_a_database_that_is_not_there_is_told_at_once(server: PostgresqlServer) -> None:
    with pytest.raises(StudyError, match="create it with `createdb`"):
        Store.open(server.address("missing"))


def test_who_leaves_takes_nothing_of_the_living_along(where: Path | str) -> None:
    with Store.open(where) as store:
        me, other = (store.join("demo", (name,), "1") for name in ("gpu 0", "gpu 1"))
        for worker, held in ((me, "trial 1"), (other, "trial 2")):
            worker.enter()
            assert worker.take(held)
        assert me.held_by_the_living() == {"trial 1", "trial 2"}
        assert (me.holds("trial 1"), me.holds("trial 2")) == (True, False)
        me.give_back("trial 2")
        assert other.holds("trial 2"), "nobody gives back what is another's"
        me.leave()
        assert [worker.devices for worker in store.workers("demo")] == [("gpu 1",)]
        assert other.held_by_the_living() == {"trial 2"}
        me.beat(())
        assert len(store.workers("demo")) == 1, "who has left does not come back"


def test_what_is_held_in_a_block_is_free_behind_it(where: Path | str) -> None:
    with Store.open(where) as store:
        me, other = store.join("demo", (), "1"), store.join("demo", (), "1")
        me.enter()
        other.enter()
        with me.holding("preparation") as mine, other.holding("preparation") as its:
            assert (mine, its) == (True, False)
        assert me.held_by_the_living() == frozenset()
        assert other.take("preparation")


def test_a_worker_says_what_it_does(where: Path | str) -> None:
    doing = Doing(device="gpu 0", trial=3, stage="build")
    with Store.open(where) as store:
        me = store.join("demo", ("gpu 0",), "1")
        me.enter()
        me.beat((doing,))
        (seen,) = store.workers("demo")
        assert (seen.doing, seen.version, seen.study) == ((doing,), "1", "demo")
        assert store.workers("another") == ()


@pytest.mark.parametrize(
    ("text", "holder"),
    [("", None), ("words", None), (str(os.getpid()), os.getpid()), ("9" * 10, None)],
    ids=["empty", "words", "living", "none"],  # processes that share the suite collect the same names
)
def test_a_lock_names_the_living_process_that_searches(text: str, holder: int | None, tmp_path: Path) -> None:
    (tmp_path / "search.lock").write_text(text + "\n")
    assert searching(tmp_path) == holder


@pytest.mark.parametrize("change", ["doing = '['", "devices = x'ff'", "beat = 'x'", "process = 'x'"])
def test_a_worker_whose_row_is_damaged_is_not_there(change: str, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with Store.open(path) as store:
        store.join("demo", (), "1").enter()
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(f"UPDATE autoprec_workers SET {change}")
        assert store.workers("demo") == ()
        me = store.join("demo", (), "1")
        me.enter()
        assert len(store.workers("demo")) == 1
        me.leave()
