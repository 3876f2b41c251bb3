"""Inserts that respect existing rows; standard SQL has none, and the dialects agree on theirs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def adding(connection: sa.Connection, table: sa.TableClause, row: dict[str, Any], *key: str) -> sa.Insert:
    """An insert that does nothing if a row with the same key exists.

    Args:
        connection: determines the dialect.
        table: receives the row.
        row: values by column.
        key: columns that identify a row.
    """
    return _insert(connection, table, row).on_conflict_do_nothing(index_elements=list(key))


def replacing(
    connection: sa.Connection,
    table: sa.TableClause,
    row: dict[str, Any],
    *key: str,
    where: sa.ColumnElement[bool] | None = None,
) -> sa.Insert:
    """An insert that replaces a row with the same key, except for columns that `row` lacks.

    Args:
        connection: determines the dialect.
        table: receives the row.
        row: values by column.
        where: condition on the existing row, without which that stays.
        key: columns that identify a row.
    """
    statement = _insert(connection, table, row)
    fresh = {name: statement.excluded[name] for name in row if name not in key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=fresh, where=where)


def _insert(
    connection: sa.Connection, table: sa.TableClause, row: dict[str, Any]
) -> postgresql.Insert | sqlite.Insert:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).values(row)
