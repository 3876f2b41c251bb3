"""Examining a damaged SQLite file, and rebuilding one from its intact rows.

Rows are read piece by piece through plain SQLite, because a query would stop at the first broken page. What
follows from trials (the front, the choices of blocks) is derived again; Optuna's tables are rewritten
elsewhere.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from autoprec.errors import StudyError
from autoprec.files import ensure_regular, replacing
from autoprec.records import Block, Identity, Record, TrialRecord
from autoprec.store._database import Database
from autoprec.store._front import front_numbers, kept_numbers, update_front
from autoprec.store._schema import CHOICES, KEYS, STUDIES, TRIALS
from autoprec.store._seals import CHECKSUM, DamagedRowError, Row, check, read
from autoprec.store._totals import add_up, ensure_complete, known_studies
from autoprec.store.dialects.journals import ensure_files, ensure_own_log

Rows = dict[sa.TableClause, list[Row]]
"""The intact rows of each table."""
_MOST_ROWS = 1_000_000
"""More than any table of autoprec's has; a damaged row number may be anything."""
_MOST_UNREAD = 1_000
"""Numbers that cannot be read, be there a row or not, after which the rest of a table is left out."""
_NO_TABLE = "SELECT count(*) FROM sqlite_master WHERE name = ? AND sql NOT LIKE 'CREATE TABLE %'"
"""Of a view, which may have rows without end, whatever its type is called."""
_RANGE = "SELECT rowid AS place, * FROM {} WHERE rowid BETWEEN ? AND ? LIMIT ?"


class Health(Record, frozen=True, kw_only=True):
    """The state of a file: its number of intact trials, and a line for each fault."""

    trials: int
    faults: tuple[str, ...]


def examine(path: Path) -> Health:
    """Check each row and what is derived from rows. Raises `StudyError` for a file that is missing."""
    try:
        database = Database(path, read_only=True)  # migrates an older file, whose rows have no checksums
    except StudyError as error:
        rows, faults = _rows(path)
        return Health(trials=len(rows[TRIALS]), faults=(str(error), *faults))
    rows, faults = _rows(path)
    try:
        with database.reading() as connection:
            faults += _not_followed(connection, rows)
            faults += _not_complete(connection, rows)
    except StudyError as error:
        faults.append(str(error))
    finally:
        database.close()
    return Health(trials=len(rows[TRIALS]), faults=tuple(faults))


def rebuild(path: Path) -> Path:
    """Replace a damaged file with one of all intact rows; returns where the damaged one is kept.

    Studies that lost their own row, which ties their trials to a model, remain in the damaged file alone.
    Raises `StudyError` if all did.
    """
    rows, _ = _rows(path)
    if not rows[STUDIES]:
        raise StudyError(f"{path}: the row of the study itself is lost; restore a copy of the file")
    fresh = path.with_name(f".{path.name}.repaired")
    # A repair that was killed leaves these; SQLite would replay its -wal into the new file.
    for leftover in path.parent.glob(f"{fresh.name}*"):
        leftover.unlink()
    database = Database(fresh, read_only=False)
    try:
        with database.writing() as connection:
            # Trials without their study's row would violate the foreign key.
            saved = {row["study"] for row in rows[STUDIES]}
            kept = {table: [row for row in rows[table] if row["study"] in saved] for table in KEYS}
            for table in KEYS:
                if kept[table]:
                    connection.execute(sa.insert(table), [dict(row) for row in kept[table]])
            choices = [choice for row in kept[TRIALS] for choice in _choices(row)]
            if choices:
                connection.execute(sa.insert(CHOICES), choices)
            for row in rows[STUDIES]:
                update_front(connection, row["study"])
            add_up(connection)
    finally:
        database.close()
    return _swap(path, fresh)


def _not_followed(connection: sa.Connection, rows: Rows) -> Iterator[str]:
    """A line for each derived table that does not follow from the intact trials."""
    for row in rows[STUDIES]:
        name = row["study"]
        if front_numbers(connection, name) != kept_numbers(connection, name):
            yield f"the front of {name!r} does not follow from its trials"
        columns = (CHOICES.c.number, CHOICES.c.block, CHOICES.c.precision)
        kept = connection.execute(sa.select(*columns).where(CHOICES.c.study == name))
        trials = [trial for trial in rows[TRIALS] if trial["study"] == name]
        numbers = {trial["number"] for trial in trials}
        derived = [choice for trial in trials for choice in _choices(trial)]
        # Choices of a damaged trial are no fault of their own: that trial has been reported.
        kept_choices = {tuple(choice) for choice in kept if choice.number in numbers}
        if kept_choices != {(c["number"], c["block"], c["precision"]) for c in derived}:
            yield f"the choices of blocks of {name!r} do not follow from its trials"


def _not_complete(connection: sa.Connection, rows: Rows) -> Iterator[str]:
    """A line for each table that lost rows, or has others than were written."""
    studies = {study for table in KEYS for study in known_studies(connection, table)}
    for study in sorted(studies | {row["study"] for row in rows[STUDIES]}, key=ascii):
        for table in KEYS:
            mine = sa.select(table.c[CHECKSUM]).where(table.c.study == study)
            try:
                ensure_complete(connection, study, table, connection.scalars(mine))
            except DamagedRowError as error:
                yield f"{error.key} is not complete"


def _swap(path: Path, fresh: Path) -> Path:
    """Put `fresh` in the place of `path`, and return the new name of the latter."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    # Copied, not moved: a kill between these steps must leave a file at `path`.
    with replacing(aside) as part:
        shutil.copyfile(path, part)
    for suffix in ("-wal", "-shm"):  # the damaged file's, read already: SQLite would replay it
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
    fresh.replace(path)
    return aside


def _rows(path: Path) -> tuple[Rows, list[str]]:
    """The intact rows of each table, and a line for each damaged one."""
    faults: list[str] = []
    rows: Rows = {table: [] for table in KEYS}
    try:
        ensure_regular(path)  # SQLite would wait at a pipe forever
        ensure_files(path)
        connection = sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)
    except OSError as error:
        raise StudyError(f"{path}: cannot be opened ({error.strerror})") from error
    except sqlite3.Error as error:
        raise StudyError(f"{path}: cannot be opened ({error})") from error
    with closing(connection):
        connection.row_factory = sqlite3.Row
        # Or a damaged definition, even of a table of Optuna's, keeps SQLite from reading any table.
        connection.execute("PRAGMA writable_schema = ON")
        with suppress(sqlite3.Error):  # of a damaged file
            ensure_own_log(path, connection.execute("PRAGMA user_version").fetchone()[0])
        for table in KEYS:
            for row in _read(connection, table, faults):
                try:
                    check(table, row)
                    _parse(table, row)
                except DamagedRowError as error:
                    faults.append(f"{error.key} is damaged")
                except (LookupError, UnicodeError, TypeError, msgspec.MsgspecError):
                    faults.append(f"a row of {table.name} is damaged")
                else:
                    rows[table].append(row)
    return rows, faults


def _last(connection: sqlite3.Connection, table: sa.TableClause, faults: list[str]) -> int:
    """The highest number of a row, as far as it is known; 0 for a table that cannot be read, or is empty."""
    try:
        if connection.execute(_NO_TABLE, (table.name,)).fetchone()[0]:
            faults.append(f"{table.name}: is not a table")
            return 0
        last: int = connection.execute(f"SELECT max(rowid) FROM {table.name}").fetchone()[0] or 0  # noqa: S608
    except (sqlite3.Error, UnicodeDecodeError):  # perhaps the page of the last row alone is damaged
        try:
            connection.execute(f"SELECT rowid FROM {table.name} LIMIT 1").fetchone()  # noqa: S608
        except (sqlite3.Error, UnicodeDecodeError) as error:
            faults.append(f"{table.name}: {error}")
            return 0
        return _MOST_ROWS
    if last > _MOST_ROWS:
        faults.append(f"{table.name}: a row has the number {last}; those above {_MOST_ROWS} are left out")
    return min(last, _MOST_ROWS)


def _read(connection: sqlite3.Connection, table: sa.TableClause, faults: list[str]) -> Iterator[Row]:
    """All rows that can be read: those after an unreadable one may be intact."""
    unread: list[tuple[int, str]] = []
    # Halved until the unreadable rows are alone: hardly any is, and numbers may have wide gaps.
    last = _last(connection, table, faults)
    ranges = [(1, last)] if last > 0 else []
    while ranges and len(unread) < _MOST_UNREAD:
        low, high = ranges.pop()
        try:
            rows = connection.execute(_RANGE.format(table.name), (low, high, high - low + 1)).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if low == high:
                unread.append((low, str(error)))
                continue
            middle = (low + high) // 2
            ranges += [(middle + 1, high), (low, middle)]
        else:
            # By number: a damaged tree may lead to a row twice.
            for row in {row[0]: row for row in rows}.values():
                # A column that somebody added is in no checksum.
                yield {name: row[name] for name in row.keys() if name in table.c}  # noqa: SIM118
    faults += _told_in_ranges(table.name, unread)
    if ranges:
        faults.append(f"{table.name}: rows above {ranges[-1][0] - 1} are left out")


def _told_in_ranges(table: str, unread: list[tuple[int, str]]) -> Iterator[str]:
    """A line for all rows in a row that cannot be read for the same reason."""
    for (_, error), rows in itertools.groupby(
        enumerate(unread), lambda item: (item[1][0] - item[0], item[1][1])
    ):
        numbers = [number for _, (number, _) in rows]
        which = f"row {numbers[0]}" if len(numbers) == 1 else f"rows {numbers[0]} to {numbers[-1]}"
        yield f"{which} of {table}: {error}"


def _parse(table: sa.TableClause, row: Row) -> None:
    if table is TRIALS:
        read(table, row, "record", TrialRecord)
    elif table is STUDIES:
        read(table, row, "identity", Identity)
        read(table, row, "blocks", tuple[Block, ...])


def _choices(row: Row) -> Iterator[dict[str, Any]]:
    record = read(TRIALS, row, "record", TrialRecord)
    for block, precision in record.assignment.choices:
        yield {"study": record.study, "number": record.number, "block": block, "precision": precision}
