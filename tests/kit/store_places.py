"""Looking into a store's database as another program would."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa


def rows(where: Path | str, query: str) -> list[tuple[object, ...]]:
    """What a query of another program gives."""
    engine = sa.create_engine(f"sqlite:///{where}" if isinstance(where, Path) else where)
    with engine.begin() as connection:
        result_rows = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return result_rows
