"""What somebody else put beside a SQLite file, or into it, is neither played nor run."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from autoprec.errors import StudyError
from autoprec.store import Store, examine, rebuild
from trial_records import BLOCKS, IDENTITY, complete

CLOSING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT * FROM autoprec_trials").fetchone()
connection.close()
"""
ROWS_WITHOUT_END = (
    "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS rowid, x AS study FROM c"
)


def stored(path: Path) -> Path:
    """A file with one trial, all of it in the file itself."""
    with Store.open(path) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.finish(complete(0, 5.0, 0.01))
    return path


def with_log(path: Path) -> Path:
    """A file all of which is still in its log, as after a kill."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE mine (x)")
        connection.commit()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{path}.killed{suffix}")
    return path.with_name(f"{path.name}.killed")


def with_later_log(path: Path) -> Path:
    """A file whose log holds a trial alone, as after a kill in a later search."""
    killed = path.with_name(f"{path.name}.killed")
    with Store.open(stored(path)) as store:
        store.finish(complete(1, 4.0, 0.02))
        shutil.copyfile(f"{path}-wal", f"{killed}-wal")
    return killed


def with_journal(path: Path) -> Path:
    """A file whose last transaction was cut short, which its journal undoes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE mine (x)")
        connection.executemany("INSERT INTO mine VALUES (?)", [(os.urandom(900),)] * 900)
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM mine")
        shutil.copyfile(f"{path}-journal", f"{path}.killed-journal")
    return path.with_name(f"{path.name}.killed")


@pytest.mark.parametrize(
    ("make", "suffix", "words"),
    [
        (with_log, "-wal", "study.db-wal: is another database's log"),
        (with_later_log, "-wal", "study.db-wal: is another database's log"),
        (with_journal, "-journal", "study.db-journal: is another database's"),
    ],
)
def test_what_another_database_left_beside_a_file_is_not_played_into_it(
    make: Callable[[Path], Path], suffix: str, words: str, tmp_path: Path
) -> None:
    path = stored(tmp_path / "study.db")
    other = make(tmp_path / "other.db")
    shutil.copyfile(f"{other}{suffix}", f"{path}{suffix}")
    before = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(StudyError, match=words):
            Store.open(path, read_only=read_only)
    with pytest.raises(StudyError, match=words):
        examine(path)
    assert path.read_bytes() == before
    Path(f"{path}{suffix}").unlink()
    with Store.open(path) as store:
        assert [trial.number for trial in store.trials("demo")] == [0]


def test_a_look_at_a_file_that_is_in_use_leaves_its_log(tmp_path: Path) -> None:
    """Another process that closes it as the last one would remove the log."""
    path = stored(tmp_path / "study.db")
    with Store.open(path) as store:
        with Store.open(path, read_only=True) as looking:
            looking.trials("demo")
        subprocess.run([sys.executable, "-c", CLOSING, str(path)], check=True)
        store.finish(complete(1, 4.0, 0.02))
        assert Path(f"{path}-wal").exists()


def test_a_files_own_log_is_played_after_a_kill(tmp_path: Path) -> None:
    path, killed = tmp_path / "study.db", tmp_path / "killed"
    killed.mkdir()
    stored(path)
    with Store.open(path) as store:
        store.finish(complete(1, 4.0, 0.02))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{killed / path.name}{suffix}")
    with Store.open(killed / path.name) as store:
        assert [trial.number for trial in store.trials("demo")] == [0, 1]


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("mine")])
def test_a_pipe_or_a_link_beside_a_file_is_told(
    suffix: str, plant: Callable[[Path], None], tmp_path: Path
) -> None:
    path = stored(tmp_path / "study.db")
    plant(Path(f"{path}{suffix}"))
    for attempt in (
        lambda: Store.open(path),
        lambda: Store.open(path, read_only=True),
        lambda: examine(path),
    ):
        with pytest.raises(StudyError, match=rf"study\.db{suffix}: is not a regular file"):
            attempt()


def test_a_trigger_that_is_made_while_a_file_is_in_use_ends_that(tmp_path: Path) -> None:
    with Store.open(stored(tmp_path / "study.db")) as store:
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
            connection.execute(
                "CREATE TRIGGER mine BEFORE INSERT ON autoprec_trials BEGIN SELECT RAISE(IGNORE); END"
            )
        with pytest.raises(StudyError, match="'mine', which autoprec did not make"):
            store.finish(complete(1, 4.0, 0.02))


def test_a_view_in_the_place_of_a_table_is_not_read_for_ever(tmp_path: Path) -> None:
    path = stored(tmp_path / "study.db")
    view = f"CREATE VIEW autoprec_facts AS {ROWS_WITHOUT_END}"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = 0, sql = ? WHERE name = 'autoprec_facts'", [view]
        )
    assert any("autoprec_facts: is not a table" in fault for fault in examine(path).faults)
    rebuild(path)
    with Store.open(path) as store:
        assert [trial.number for trial in store.trials("demo")] == [0]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE UNIQUE INDEX mine ON autoprec_trials (study)",
        "ALTER TABLE autoprec_trials ADD COLUMN mine TEXT CHECK (number < 1)",
    ],
)
def test_a_rule_that_somebody_added_is_told(statement: str, tmp_path: Path) -> None:
    with Store.open(stored(tmp_path / "study.db")) as store:
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
            connection.execute(statement)
        with pytest.raises(StudyError, match="by a rule that autoprec did not make"):
            store.finish(complete(1, 4.0, 0.02))


def test_a_column_that_somebody_added_costs_no_row_in_a_repair(tmp_path: Path) -> None:
    path = stored(tmp_path / "study.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE autoprec_trials ADD COLUMN note TEXT NOT NULL DEFAULT 'mine'")
    assert examine(path).faults == ()
    rebuild(path)
    with Store.open(path) as store:
        assert [trial.number for trial in store.trials("demo")] == [0]


@pytest.mark.parametrize("table", ["autoprec_trials", "autoprec_studies", "autoprec_totals"])
def test_a_table_that_was_copied_without_its_keys_is_told_and_repaired(table: str, tmp_path: Path) -> None:
    path = stored(tmp_path / "study.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"PRAGMA legacy_alter_table = ON; CREATE TABLE mine AS SELECT * FROM {table}; DROP TABLE {table};"
            f"ALTER TABLE mine RENAME TO {table}"
        )

    def finish() -> None:
        with Store.open(path) as store:
            store.finish(complete(1, 4.0, 0.02))

    with pytest.raises(StudyError, match="damaged; `autoprec doctor"):
        finish()
    rebuild(path)
    finish()
    with Store.open(path) as store:
        assert [trial.number for trial in store.trials("demo")] == [0, 1]
