"""Files that are not ours, not writable, not alone: a one-line error, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tracemalloc
from collections import deque
from contextlib import closing, suppress
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa

from autoprec.errors import StudyError
from autoprec.files import read_small
from autoprec.store import Store, exclusive, searching
from autoprec.store._front import front_numbers
from autoprec.store._schema import CHOICES, FACTS, FRONT, RUNS, STUDIES, TRIALS, VERSION
from autoprec.store.dialects import sqlite
from trial_records import BLOCKS, IDENTITY, complete

HERE = Path(__file__).parent


def stored(path: Path) -> Path:
    with Store.open(path) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.finish(complete(0, 5.0, 0.01))
    return path


def run_sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_optuna_and_the_store_share_a_file(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=address, study_name="demo", directions=["minimize", "minimize"])
    stored(tmp_path / "study.db")
    study.tell(study.ask(), (5.0, 0.01))
    again = optuna.load_study(storage=address, study_name="demo")
    with Store.open(tmp_path / "study.db", read_only=True) as store:
        assert [trial.number for trial in again.trials] == [trial.number for trial in store.trials("demo")]


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_database_of_every_version_opens(version: int, tmp_path: Path) -> None:
    path = Path(shutil.copy(HERE / f"version_{version}.db", tmp_path))
    with Store.open(path) as store:
        assert [trial.state for trial in store.trials("demo")] == ["complete", "failed", "running"]
        assert [trial.number for trial in store.front("demo")] == [0]
        assert store.blocks("demo") == BLOCKS
        assert store.fact("demo", "sensitivity", "stem", float) == 0.5


def test_the_tables_have_the_columns_that_queries_use(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{stored(tmp_path / 'study.db')}")
    for table in (CHOICES, FACTS, FRONT, RUNS, STUDIES, TRIALS):
        there = {column["name"] for column in sa.inspect(engine).get_columns(table.name)}
        assert there == set(table.columns.keys())
    engine.dispose()


def test_a_step_that_fails_leaves_neither_table_nor_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path / "study.db")
    broken = (("CREATE TABLE autoprec_new (x)", "CREATE NONSENSE"),)
    monkeypatch.setattr("autoprec.store._schema.MIGRATIONS", ((),) * VERSION + broken)
    monkeypatch.setattr("autoprec.store._schema.VERSION", VERSION + 1)
    monkeypatch.setattr("autoprec.store._database.VERSION", VERSION + 1)
    with pytest.raises(sa.exc.OperationalError, match="syntax error"):
        Store.open(path)
    monkeypatch.undo()
    with Store.open(path) as store:
        assert len(store.trials("demo")) == 1


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("notes about my study, and nothing else" * 100)
    with pytest.raises(StudyError, match=r"study\.db: is not a SQLite database; move it away"):
        Store.open(path)
    assert path.read_text().startswith("notes")


def test_a_database_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    run_sql(path, "CREATE TABLE invoices (x)")
    before = path.read_bytes()
    with pytest.raises(StudyError, match=r"it holds invoices"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "study.db")
    run_sql(path, "INSERT INTO autoprec_schema VALUES (99, 'later')")
    with pytest.raises(StudyError, match=r"newer autoprec \(schema 99, this one knows \d+\); upgrade"):
        Store.open(path)


def test_a_missing_study_is_named_when_only_reading(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"study\.db: no study there; `autoprec search` creates one"):
        Store.open(tmp_path / "study.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_a_study_that_is_being_written(tmp_path: Path) -> None:
    path = stored(tmp_path / "study.db")
    with Store.open(path) as writer, Store.open(path, read_only=True) as reader:
        writer.finish(complete(1, 4.0, 0.02, choices="int8 int8"))
        assert [trial.number for trial in reader.front("demo")] == [1, 0]
        with pytest.raises(StudyError, match="is read-only; make the file and its folder writable"):
            reader.finish(complete(2, 3.0, 0.03))


def test_a_locked_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    path = stored(tmp_path / "study.db")
    with closing(sqlite3.connect(path)) as other, Store.open(path) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StudyError, match="is locked by another process"):
            store.finish(complete(1, 4.0, 0.02))
        other.rollback()
        store.finish(complete(1, 4.0, 0.02))


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    path = stored(tmp_path / "study.db")
    with Store.open(path) as store:
        with store._database.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        more = [complete(n, 5.0 - n / 100, 0.01 + n, choices=f"int8 x{n}") for n in range(1, 100)]
        with pytest.raises(StudyError, match="the disk is full; free space"):
            deque(map(store.finish, more), maxlen=0)
        finished = store.trials("demo")
        assert 1 <= len(finished) < 99
        assert len(store.front("demo")) == len(finished)


def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(StudyError, match=r"/proc/nowhere: cannot be created .*; name a writable folder"):
        Store.open(Path("/proc/nowhere/study.db"))


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(StudyError, match=r"/proc/study\.db: cannot be opened; check that its folder"):
        Store.open(Path("/proc/study.db"))


def test_a_second_search_names_the_process_of_the_first(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from autoprec.store import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(StudyError, match=f"process {first.pid} is searching"), exclusive(tmp_path):
            pass
        first.kill()
    with exclusive(tmp_path), pytest.raises(StudyError, match="is searching"), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        assert (tmp_path / "search.lock").is_file()


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_reading_brings_an_older_database_up_to_date(version: int, tmp_path: Path) -> None:
    path = Path(shutil.copy(HERE / f"version_{version}.db", tmp_path))
    with Store.open(path, read_only=True) as store:
        assert [run.trials for run in store.runs("demo")] == [2]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE autoprec_trials",
        "ALTER TABLE autoprec_runs DROP COLUMN budget",
        "DROP TABLE autoprec_schema",
    ],
)
def test_tables_that_are_not_as_they_were_are_told(statement: str, tmp_path: Path) -> None:
    path = stored(tmp_path / "study.db")
    run_sql(path, "PRAGMA foreign_keys = OFF", statement)

    def read() -> None:
        with Store.open(path) as store:
            store.runs("demo")
            store.trials("demo")

    with pytest.raises(StudyError, match="damaged; `autoprec doctor"):
        read()


@pytest.mark.parametrize(
    "name", ["a?b.db", "a%20b.db", "a#b.db", "a b é😀.db", "a\nb.db", "a?mode=ro&x=1.db", "ä%zz/b.db"]
)
def test_a_sqlite_address_names_the_very_file(name: str, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / name}") as store:
        store.bind("demo", IDENTITY, BLOCKS)
        optuna.create_study(storage=store.optuna(), study_name="demo")
    with closing(sqlite3.connect(tmp_path / name)) as database:
        tables = {table for (table,) in database.execute("SELECT name FROM sqlite_master")}
    assert {"autoprec_studies", "studies"} <= tables
    assert [path.name for path in tmp_path.iterdir()] == [Path(name).parts[0]]


@pytest.mark.parametrize(
    "statement", ["VIEW mine AS SELECT 1", "TRIGGER mine AFTER INSERT ON autoprec_trials BEGIN SELECT 1; END"]
)
def test_a_file_with_statements_of_somebody_else_is_refused(tmp_path: Path, statement: str) -> None:
    Store.open(tmp_path / "study.db").close()
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute(f"CREATE {statement}")
    with pytest.raises(StudyError, match="'mine', which autoprec did not make"):
        Store.open(tmp_path / "study.db")


@pytest.mark.parametrize("is_replaced", [False, True])
def test_writing_to_a_file_that_was_deleted_is_refused(tmp_path: Path, is_replaced: bool) -> None:
    with Store.open(stored(tmp_path / "study.db")) as store:
        (tmp_path / "study.db").unlink()
        if is_replaced:
            stored(tmp_path / "study.db")
        with pytest.raises(StudyError, match="was deleted or replaced while it was in use"):
            store.finish(complete(1, 4.0, 0.02))


def test_optunas_tables_of_two_versions_at_once_are_refused(tmp_path: Path) -> None:
    with Store.open(stored(tmp_path / "study.db")) as store:
        store.optuna()
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
        connection.execute("INSERT INTO alembic_version VALUES ('v1.0')")
    with Store.open(tmp_path / "study.db") as store, pytest.raises(StudyError, match="another version"):
        store.optuna()


def test_a_search_changes_nothing_behind_links_in_its_folder(tmp_path: Path) -> None:
    mine, study = tmp_path / "mine", tmp_path / "study"
    for folder in (mine, study):
        folder.mkdir()
    (mine / "text").write_text("precious")
    (study / "scratch").symlink_to(mine)
    with exclusive(study):
        pass
    (study / "search.lock").unlink()
    (study / "search.lock").symlink_to(mine / "text")
    with pytest.raises(StudyError, match=r"search\.lock: cannot be written"), exclusive(study):
        pass
    assert (mine / "text").read_text() == "precious"


@pytest.mark.parametrize("target", ["other.db", "nothing"])
def test_a_study_db_that_is_a_link_is_refused(tmp_path: Path, target: str) -> None:
    Store.open(tmp_path / "other.db").close()
    (tmp_path / "study.db").symlink_to(target)
    with pytest.raises(StudyError, match="is a link"):
        Store.open(tmp_path / "study.db")
    assert not (tmp_path / "nothing").exists()


def test_a_search_that_fails_lets_go_of_its_folder(tmp_path: Path) -> None:
    with suppress(StudyError), exclusive(tmp_path):
        assert searching(tmp_path) == os.getpid()
        raise StudyError("something failed")
    assert searching(tmp_path) is None


@pytest.mark.parametrize("column", ["loss", "latency_ms"])
def test_text_in_the_place_of_a_figure_is_damage(tmp_path: Path, column: str) -> None:
    engine = sa.create_engine(f"sqlite:///{stored(tmp_path / 'study.db')}")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"UPDATE autoprec_trials SET {column} = 'much'")
        with pytest.raises(StudyError, match="is damaged"):
            front_numbers(connection, "demo")
    engine.dispose()


def test_a_small_file_is_read_in_little_memory(tmp_path: Path) -> None:
    (path := tmp_path / "small").write_bytes(b"few")
    tracemalloc.start()
    try:
        assert read_small(path) == b"few"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
