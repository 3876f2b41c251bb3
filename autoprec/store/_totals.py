"""Totals of each table's rows by study.

Checksums cannot detect rows that are missing, doubled, older, or from another copy of the file; totals can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from autoprec.store._schema import KEYS, TOTALS
from autoprec.store._seals import CHECKSUM, DamagedRowError, Row

_MODULUS = 1 << 56
"""Two digests are added before the remainder is taken, and databases count to 2^63."""
Total = tuple[int, int]
"""Number of rows, and the sum of their digests."""


def add(connection: sa.Connection, table: sa.TableClause, row: Row, before: object = None) -> None:
    """Count a row that was written, in the same transaction.

    Args:
        connection: has locked the study, so that nobody else can change the row that is replaced.
        table: of the row.
        row: as written, with its checksum.
        before: checksum of the row that was replaced; None if it was added.
    """
    # A sum can be kept up in one statement, whatever the order of rows; a hash over all would need reading
    # all.
    digest = (_digest(row[CHECKSUM]) - (0 if before is None else _digest(before))) % _MODULUS
    values = {"study": row["study"], "name": _name(table), "rows": int(before is None), "digest": digest}
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(TOTALS).values(values)
    more = {
        "rows": TOTALS.c.rows + statement.excluded.rows,
        "digest": (TOTALS.c.digest + statement.excluded.digest) % _MODULUS,
    }
    connection.execute(statement.on_conflict_do_update(index_elements=["study", "name"], set_=more))


def ensure_complete(
    connection: sa.Connection, study: str, table: sa.TableClause, checksums: Iterable[object]
) -> None:
    """Raises `DamagedRowError` unless these are all rows that were written, each in its last state.

    Args:
        connection: has the same view of the database as when the rows were read.
        study: of the rows.
        table: of the rows.
        checksums: those of all rows that were read of the study.
    """
    if _kept(connection, study).get((study, _name(table)), (0, 0)) != _total(checksums):
        raise DamagedRowError(f"the list of {_name(table)} of study {study!r}")


def known_studies(connection: sa.Connection, table: sa.TableClause) -> set[str]:
    """Studies with rows written to `table`, whether those are still there or not."""
    return {study for study, name in _kept(connection) if name == _name(table)}


def add_up(connection: sa.Connection, *, counted: bool = False) -> None:
    """Compute totals anew from existing rows, for older files, which have none, and after a repair.

    With `counted` the file's own numbers of rows are kept, so that rows lost before remain missed.
    """
    kept = _kept(connection) if counted else {}
    there = {
        (study, _name(table)): _total(
            connection.scalars(sa.select(table.c[CHECKSUM]).where(table.c.study == study))
        )
        for table in KEYS
        for study in connection.scalars(sa.select(table.c.study).distinct()).all()
    }
    connection.execute(sa.delete(TOTALS))
    for study, name in {**kept, **there}:
        rows, digest = there.get((study, name), (0, 0))
        rows = kept[study, name][0] if (study, name) in kept else rows
        row = {"study": study, "name": name, "rows": rows, "digest": digest}
        connection.execute(sa.insert(TOTALS).values(row))


def _kept(connection: sa.Connection, *studies: str) -> dict[tuple[str, str], Total]:
    """The stored totals by study and table, of all studies where none is named."""
    query = sa.select(TOTALS.c.study, TOTALS.c.name, TOTALS.c.rows, TOTALS.c.digest)
    if studies:
        query = query.where(TOTALS.c.study.in_(studies))
    return {(study, name): (rows, digest) for study, name, rows, digest in connection.execute(query)}


def _total(checksums: Iterable[object]) -> Total:
    listed = [_digest(checksum) for checksum in checksums]
    return len(listed), sum(listed) % _MODULUS


def _digest(checksum: object) -> int:
    """The digest of a checksum, or of whatever damage has put in its column."""
    return int.from_bytes(hashlib.sha256(ascii(checksum).encode()).digest()[:7])


def _name(table: sa.TableClause) -> str:
    return table.name.removeprefix("autoprec_")
