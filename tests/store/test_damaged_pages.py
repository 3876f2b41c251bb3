"""Pages of a study's file that cannot be read: all rows on the others are saved."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autoprec.store import Store, _repair, examine, rebuild
from trial_records import BLOCKS, IDENTITY, REFERENCE, complete


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "study.db"
    with Store.open(path) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.put_reference("demo", REFERENCE)
        store.begin_run("demo", "50")
        for number in range(100):
            store.finish(complete(number, 5.0, 0.01))
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path))


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement).rowcount
        connection.commit()


def spoil(path: Path, *numbers: int) -> None:
    """Zero the pages of some trials."""
    data = bytearray(path.read_bytes())
    for place in [data.index(b'"number":%d' % number) // 4096 * 4096 for number in numbers]:
        data[place : place + 4096] = bytes(4096)
    path.write_bytes(data)


def test_a_number_of_a_row_that_is_huge_is_not_counted_up_to(path: Path) -> None:
    change(path, "UPDATE autoprec_runs SET id = 1 << 40")
    assert any("a row has the number 1099511627776" in fault for fault in examine(path).faults)


def test_rows_are_saved_where_an_index_of_them_is_damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND tbl_name = 'autoprec_trials'"
        places = [4096 * (page - 1) for (page,) in connection.execute(query)]
    data = bytearray(path.read_bytes())
    for place in places:
        data[place : place + 4096] = bytes(4096)
    path.write_bytes(data)
    assert examine(path).trials == 100


def test_rows_behind_a_damaged_page_are_saved_and_the_others_told_in_one_line(path: Path) -> None:
    change(path, "UPDATE autoprec_trials SET rowid = 999999 WHERE number = 99")
    spoil(path, 50)
    health = examine(path)
    assert 80 < health.trials < 100
    told = [fault for fault in health.faults if fault.startswith("row")]
    assert re.fullmatch(r"rows \d+ to \d+ of autoprec_trials: database disk image is malformed", told[0])
    rebuild(path)
    with Store.open(path) as store:
        assert {0, 1, 98, 99} < {trial.number for trial in store.trials("demo")}


def test_rows_above_so_many_that_cannot_be_read_are_left_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_repair, "_MOST_UNREAD", 3)
    spoil(path, 50, 52)
    _, unread, above = examine(path).faults
    last = re.fullmatch(r"rows \d+ to (\d+) of autoprec_trials: .*", unread)
    assert last
    assert above == f"autoprec_trials: rows above {last[1]} are left out"


@pytest.mark.parametrize("byte", [0, ord("("), 255])
@pytest.mark.parametrize("table", ["autoprec_front", "trial_values"])
def test_rows_are_saved_where_the_definition_of_another_table_is_damaged(
    table: str, byte: int, path: Path
) -> None:
    with Store.open(path) as store:
        store.optuna()
    data = bytearray(path.read_bytes())
    data[data.index(f"CREATE TABLE {table}".encode()) + 10] = byte
    path.write_bytes(data)
    assert examine(path).trials == 100
    rebuild(path)
    with Store.open(path) as store:
        assert len(store.trials("demo")) == 100
