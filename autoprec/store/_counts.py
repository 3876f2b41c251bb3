"""How many trials and runs a study has: a row that is gone whole leaves no checksum that is wrong."""

from __future__ import annotations

import sqlalchemy as sa

from autoprec.store._schema import COUNTS, RUNS, TRIALS
from autoprec.store._seals import DamagedRowError, check, sealed

_COUNTED = {"trials": TRIALS, "runs": RUNS}


def count(connection: sa.Connection, study: str, table: sa.TableClause) -> None:
    """Note that a row of `table` was added, in the transaction that adds it."""
    row = _row(connection, study)
    connection.execute(sa.delete(COUNTS).where(COUNTS.c.study == study))
    more = {name: row[name] + (counted is table) for name, counted in _COUNTED.items()}
    connection.execute(sa.insert(COUNTS).values(sealed({"study": study, **more})))


def ensure_complete(connection: sa.Connection, study: str, table: sa.TableClause) -> None:
    """Raises `DamagedRowError` if there are fewer or more rows of a study than were added."""
    name = next(name for name, counted in _COUNTED.items() if counted is table)
    if _row(connection, study)[name] != _there(connection, study, table):
        raise DamagedRowError(f"the list of {name} of study {study!r}")


def recount(connection: sa.Connection) -> None:
    """Count what is there, for all studies: a repair saves what is intact, and older files have no counts."""
    connection.execute(sa.delete(COUNTS))
    studies = {name for table in _COUNTED.values() for name in connection.scalars(sa.select(table.c.study))}
    for study in sorted(studies):
        there = {name: _there(connection, study, table) for name, table in _COUNTED.items()}
        connection.execute(sa.insert(COUNTS).values(sealed({"study": study, **there})))


def _row(connection: sa.Connection, study: str) -> dict[str, int]:
    row = connection.execute(sa.select(COUNTS).where(COUNTS.c.study == study)).mappings().one_or_none()
    if row is None:
        return dict.fromkeys(_COUNTED, 0)
    check(COUNTS, row)
    return {name: row[name] for name in _COUNTED}


def _there(connection: sa.Connection, study: str, table: sa.TableClause) -> int:
    query = sa.select(sa.func.count()).select_from(table).where(table.c.study == study)
    return int(connection.scalar(query) or 0)
