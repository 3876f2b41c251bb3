"""Checksums of rows: what has changed on disk is reported, never believed.

SQLite notices a damaged page, not a byte that flipped inside a value. Each row of evidence therefore carries
a digest of all its other columns, checked whenever the row is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from autoprec.errors import StudyError
from autoprec.records import Reference, TrialRecord, from_json

T = TypeVar("T")
Row = Mapping[Any, Any]
"""Column names to values; SQLAlchemy does not promise that keys are text."""
CHECKSUM = "checksum"


class DamagedRowError(StudyError):
    """A row is not as it was written; `key` says which one."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is damaged; `autoprec doctor --study NAME` says what can be recovered")
        self.key = key


def checksum(row: Row) -> str:
    """16 hexadecimal digits of SHA-256 over a row."""
    # By name: a column added by a migration has another position than in a file created with it.
    values = [(name, _plain(row[name])) for name in sorted(row) if name != CHECKSUM]
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:16]


def sealed(row: Row) -> dict[str, Any]:
    """A whole row with its checksum."""
    return {**row, CHECKSUM: checksum(row)}


def check(table: sa.TableClause, row: Row) -> None:
    """Raises `DamagedRowError` for a row that is not as it was written."""
    if row[CHECKSUM] != checksum(row):
        raise DamagedRowError(_key(table, row))


def read(table: sa.TableClause, row: Row, column: str, form: type[T]) -> T:
    """The value in a JSON column of a row.

    Args:
        table: of the row.
        row: as read, with its checksum.
        column: name of a column with JSON.
        form: type that the JSON holds.

    Raises `DamagedRowError`, also for values that match their checksum but cannot have been measured.
    """
    check(table, row)
    try:
        record = from_json(row[column], form)
    except (msgspec.MsgspecError, TypeError, RecursionError) as error:
        raise DamagedRowError(_key(table, row)) from error
    if not _is_possible(record):
        raise DamagedRowError(_key(table, row))
    return record


def seal_all(connection: sa.Connection, keys: Mapping[sa.TableClause, tuple[str, ...]]) -> None:
    """Give each row of these tables a checksum, in a file from before there were any.

    `keys` has the columns that identify a row of each table.
    """
    for table, names in keys.items():
        # `*`: today's tables may have columns that the file gets in a later step, which then has to seal
        # anew.
        for row in connection.execute(sa.select(sa.text("*")).select_from(table)).mappings().all():
            _put(connection, table, names, row)


def seal_numbers(connection: sa.Connection, table: sa.TableClause) -> None:
    """Let the checksums of `table` cover `id`, which older versions left out."""
    for row in connection.execute(sa.select(table)).mappings().all():
        # A row that does not match stays as it is, or migrating would make damage look intact.
        if row[CHECKSUM] == checksum({name: row[name] for name in row if name != "id"}):
            _put(connection, table, ("id",), row)


def _put(connection: sa.Connection, table: sa.TableClause, names: tuple[str, ...], row: Row) -> None:
    mine = sa.and_(*(table.c[name] == row[name] for name in names))
    connection.execute(sa.update(table).where(mine).values({CHECKSUM: checksum(row)}))


def _plain(value: Any) -> Any:
    """A value as it compares equal before and after storage: columns of floats return integers as floats."""
    return float(value) if isinstance(value, int | float) else value


def _key(table: sa.TableClause, row: Row) -> str:
    names = ("study", "number", "id", "kind", "key")
    what = {"autoprec_studies": "study"}.get(
        table.name, table.name.removeprefix("autoprec_").removesuffix("s")
    )
    return f"{what} {', '.join(ascii(row[name])[:80] for name in names if name in row)}"


def _is_possible(record: object) -> bool:
    """Whether a record can have been measured: times and ratios are positive or, from some engines, NaN."""
    if isinstance(record, Reference):
        return 0 < record.latency_ms < float("inf")
    if isinstance(record, TrialRecord) and record.measurement is not None:
        latency = record.measurement.latency
        return not (latency.ratio <= 0 or latency.median_ms <= 0 or record.latency_ms <= 0)
    return True
