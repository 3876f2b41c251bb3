"""Inserts that mind what is there already: standard SQL has none, the dialects write theirs alike."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def adding(connection: sa.Connection, table: sa.TableClause, row: dict[str, Any], *key: str) -> sa.Insert:
    """An insert that does nothing where a row with the same key is there.

    Args:
        connection: whose dialect it is.
        table: takes the row.
        row: values by column.
        key: columns that tell rows apart.
    """
    return _insert(connection, table, row).on_conflict_do_nothing(index_elements=list(key))


def replacing(
    connection: sa.Connection,
    table: sa.TableClause,
    row: dict[str, Any],
    *key: str,
    where: sa.ColumnElement[bool] | None = None,
) -> sa.Insert:
    """An insert that takes the place of a row with the same key; columns that `row` lacks stay.

    Args:
        connection: whose dialect it is.
        table: takes the row.
        row: values by column.
        where: what the earlier row must be; else it stays.
        key: columns that tell rows apart.
    """
    statement = _insert(connection, table, row)
    fresh = {name: statement.excluded[name] for name in row if name not in key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=fresh, where=where)


def _insert(
    connection: sa.Connection, table: sa.TableClause, row: dict[str, Any]
) -> postgresql.Insert | sqlite.Insert:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).values(row)
