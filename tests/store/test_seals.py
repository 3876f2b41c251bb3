"""Bytes that changed on the disk are told, never believed."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from autoprec.errors import StudyError
from autoprec.store import Store, _schema, examine, rebuild
from trial_records import BLOCKS, IDENTITY, REFERENCE, complete, failed, running

READS: dict[str, Callable[[Store], object]] = {
    "studies": lambda store: store.reference("demo"),
    "trials": lambda store: store.trials("demo"),
    "runs": lambda store: store.runs("demo"),
    "facts": lambda store: store.facts("demo", "sensitivity", float),
    "front": lambda store: store.front("demo"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "study.db") as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.put_reference("demo", REFERENCE)
        store.put_fact("demo", "sensitivity", "stem|int8", 0.25)
        store.begin_run("demo", "50")
        store.finish(complete(0, 5.0, 0.01))
        store.finish(complete(1, 4.0, 0.02, choices="int8 int8"))
    return tmp_path / "study.db"


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement).rowcount
        connection.commit()


@pytest.mark.parametrize(
    ("table", "change_to"),
    [
        ("studies", "reference = replace(reference, 'fp16', 'fp32')"),
        ("studies", "reference = NULL"),
        ("trials", "record = replace(record, '0.01', '0.00')"),
        ("trials", "record = x'00ff'"),
        ("trials", "loss = loss / 2"),
        ("runs", "budget = '51'"),
        ("facts", "value = '0.15'"),
        ("facts", "kind = ''"),
        ("facts", "key = 'neck|int8'"),
        ("facts", "study = 'other'"),
        ("front", "number = 2"),
    ],
)
def test_what_changed_is_told_with_the_way_out(path: Path, table: str, change_to: str) -> None:
    where = "number = 1" if table == "front" else "1"
    change(path, f"UPDATE autoprec_{table} SET {change_to} WHERE {where}")
    with pytest.raises(StudyError, match=r"damaged; `autoprec doctor --study"), Store.open(path) as store:
        READS[table](store)


def test_a_ratio_that_nobody_can_measure_is_damage(tmp_path: Path) -> None:
    with Store.open(tmp_path / "study.db") as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.finish(complete(0, 0.0, 0.01))
        with pytest.raises(StudyError, match="trial 'demo', 0 is damaged"):
            store.trials("demo")


@pytest.mark.parametrize(
    ("changes", "is_damage"),
    [
        ({"latency_ms": 0.0}, True),
        ({"latency": {"ratio": 0.0}}, True),
        ({"latency": {"median_ms": -1.0}}, True),
        ({"latency_ms": math.nan}, False),
        ({"latency_ms": 0.5, "latency": {"ratio": 0.5, "median_ms": 0.5}}, False),
    ],
)
def test_a_time_of_nothing_is_damage_and_what_is_no_number_is_not(
    changes: dict[str, Any], is_damage: bool, tmp_path: Path
) -> None:
    trial = complete(0, 5.0, 0.01)
    assert trial.measurement is not None
    latency = msgspec.structs.replace(trial.measurement.latency, **changes.pop("latency", {}))
    measurement = msgspec.structs.replace(trial.measurement, latency=latency, **changes)
    with Store.open(tmp_path / "study.db") as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.finish(msgspec.structs.replace(trial, measurement=measurement))
        with pytest.raises(StudyError, match="is damaged") if is_damage else nullcontext():
            assert len(store.trials("demo")) == 1


@pytest.mark.parametrize("latency_ms", [0.0, math.inf])
def test_a_reference_of_no_time_is_damage(latency_ms: float, path: Path) -> None:
    with Store.open(path) as store:
        store.put_reference("demo", msgspec.structs.replace(REFERENCE, latency_ms=0.5))
        assert store.reference("demo") is not None
        store.put_reference("demo", msgspec.structs.replace(REFERENCE, latency_ms=latency_ms))
        with pytest.raises(StudyError, match="study 'demo' is damaged"):
            store.reference("demo")


def test_every_repair_keeps_the_damaged_file_under_a_name_of_its_own(path: Path) -> None:
    change(path, "DELETE FROM autoprec_trials WHERE number = 1")
    names = [rebuild(path).name for _ in range(3)]
    assert names == [f"study.db.damaged-{number}" for number in (1, 2, 3)]
    assert examine(path).trials == 1
    with Store.open(path) as store:
        assert [trial.number for trial in store.front("demo")] == [0]


def test_an_older_file_learns_which_trials_were_whose(path: Path) -> None:
    """Before runs knew their first trial, the clock told."""
    with Store.open(path) as store:
        store.begin_run("demo", "50")
    change(path, "UPDATE autoprec_runs SET first = 7, start = '2026-01-01T00:00:01' WHERE id = 2")
    change(path, "UPDATE autoprec_runs SET first = 7, start = '2025' WHERE id = 1")
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        _schema._first_trials(connection)
        firsts = connection.exec_driver_sql("SELECT first FROM autoprec_runs ORDER BY id").scalars().all()
    engine.dispose()
    assert firsts == [0, 2]


def test_a_row_keeps_its_checksum_through_every_change(path: Path) -> None:
    with Store.open(path) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.end_run(store.runs("demo")[0].id, 2)
        assert store.reference("demo") == REFERENCE
        assert [run.trials for run in store.runs("demo")] == [2]


def test_runs_know_their_trials_whatever_the_clock_says(path: Path) -> None:
    with Store.open(path) as store:
        store.end_run(store.runs("demo")[0].id, 2)
        store.begin_run("demo", "50")
        assert [run.first for run in store.runs("demo")] == [0, 2]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE autoprec_trials SET study = 'another' WHERE number = 0",
        "UPDATE autoprec_runs SET study = 'another'",
        "DELETE FROM autoprec_trials WHERE number = 0",
        "DELETE FROM autoprec_runs",
        "UPDATE autoprec_runs SET id = 1 << 62",
        "DELETE FROM autoprec_facts",
        "UPDATE autoprec_facts SET study = 'another'",
        "DELETE FROM autoprec_totals",
        "DELETE FROM autoprec_totals WHERE name = 'facts'",
        "UPDATE autoprec_totals SET rows = 2 WHERE name = 'runs'",
        "UPDATE autoprec_totals SET digest = 'x' WHERE name = 'studies'",
    ],
)
def test_a_row_that_went_to_another_study_is_missed(statement: str, path: Path) -> None:
    change(path, statement)

    def read() -> None:
        with Store.open(path) as store:
            for view in READS.values():
                view(store)

    with pytest.raises(StudyError, match="damaged; `autoprec doctor"):
        read()


@pytest.mark.parametrize("rows", ["_runs", "_trials WHERE number = 2", "_facts", "_totals"])
def test_a_row_that_is_gone_is_missed_until_the_file_is_repaired(path: Path, rows: str) -> None:
    with Store.open(path) as store:
        store.finish(failed(2))
    change(path, "DELETE FROM autoprec_choices WHERE number = 2")
    change(path, f"DELETE FROM autoprec{rows}")
    assert any("is not complete" in fault for fault in examine(path).faults)
    rebuild(path)
    assert not examine(path).faults


@pytest.mark.parametrize("table", ["studies", "trials", "runs", "facts"])
def test_a_row_as_it_was_earlier_is_told(path: Path, table: str) -> None:
    with Store.open(path) as store:
        store.begin(running(2))
    earlier = rows(path, table)
    with Store.open(path) as store:
        store.put_reference("demo", msgspec.structs.replace(REFERENCE, latency_ms=11))
        store.put_fact("demo", "sensitivity", "stem|int8", 0.5)
        store.end_run(1, 3)
        store.finish(failed(2))
    with closing(sqlite3.connect(path)) as connection, connection:
        marks = ", ".join("?" * len(earlier[0]))
        connection.executemany(f"REPLACE INTO autoprec_{table} VALUES ({marks})", earlier)
    with Store.open(path) as store, pytest.raises(StudyError, match="damaged; `autoprec doctor"):
        READS[table](store)
    assert examine(path).faults


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM autoprec_{table}").fetchall()


def test_a_study_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with Store.open(path) as store:
        for name in ("demo", "other"):
            store.bind(name, IDENTITY, BLOCKS)
            store.put_fact(name, "sensitivity", "stem|int8", 0.25)
        store.finish(complete(0, 5.0, 0.01))
    change(path, "DELETE FROM autoprec_studies WHERE study = 'other'")
    with Store.open(path) as store:
        for read in (lambda: store.bind("other", IDENTITY, BLOCKS), store.studies):
            with pytest.raises(StudyError, match="damaged; `autoprec doctor"):
                read()
    assert examine(path).faults
    rebuild(path)
    assert not examine(path).faults
    with Store.open(path) as store:
        assert (store.studies(), len(store.trials("demo"))) == (("demo",), 1)
        store.bind("other", IDENTITY, BLOCKS)
        assert not store.facts("other", "sensitivity", float)


def test_choices_that_do_not_follow_from_their_trials_are_told(path: Path) -> None:
    change(path, "UPDATE autoprec_choices SET precision = 'fp32' WHERE number = 1")
    assert examine(path).faults == ("the choices of blocks of 'demo' do not follow from its trials",)
    rebuild(path)
    assert not examine(path).faults


def test_what_a_file_had_lost_before_it_was_brought_up_to_date_is_missed(tmp_path: Path) -> None:
    path = Path(shutil.copy(Path(__file__).parent / "version_6.db", tmp_path))
    change(path, "DELETE FROM autoprec_choices WHERE number = 1")
    change(path, "DELETE FROM autoprec_trials WHERE number = 1")
    with Store.open(path) as store, pytest.raises(StudyError, match="the list of trials of study 'demo'"):
        store.trials("demo")


def test_a_file_with_tables_of_a_later_version_than_its_own_is_told(path: Path) -> None:
    change(path, "DELETE FROM autoprec_schema WHERE version = (SELECT max(version) FROM autoprec_schema)")
    with pytest.raises(StudyError, match=r"damaged; `autoprec doctor --study"):
        Store.open(path)


@pytest.mark.parametrize(("place", "byte"), [(47, 9), (19, 9), (16, 3)])
def test_a_header_that_changed_is_told(path: Path, place: int, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] = byte
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"study\.db: (is damaged|is not a SQLite database)"):
        Store.open(path)


def test_a_schema_that_is_no_text_is_told(path: Path) -> None:
    data = path.read_bytes().replace(b"CREATE TABLE autoprec_facts", b"CREATX TABLE autoprec_facts")
    path.write_bytes(data.replace(b"tableautoprec_facts", b"table\xf7utoprec_facts"))
    with pytest.raises(StudyError, match="damaged; `autoprec doctor"):
        Store.open(path, read_only=True)
    assert examine(path).faults
