"""The reference of the study's database: the tables as the migrations leave them, and their rows."""

from __future__ import annotations

from pathlib import Path

import griffe
import sqlalchemy as sa

from autoprec.store import _schema as schema

_INTRODUCTION = f"""# Database

Everything that a study measured is in one SQLite file, `studies/NAME/study.db`, or in one PostgreSQL
database. It holds Optuna's tables, which any Optuna tool opens, and the tables below; both are joined by
study name and trial number. Open it read-only while a search runs. The version of this schema is
{schema.VERSION}: a newer autoprec migrates an older file when a search opens it; an older autoprec refuses a
newer file.

Columns of JSON hold the records of `autoprec.records`. A checksum covers its row; `autoprec doctor --study
NAME` checks them all, and `--repair` rebuilds what is damaged from what is intact.
"""


def database_page() -> str:
    """A page in Markdown: a section for each table, a row for each column."""
    words = _described()
    # From the migrations, not from the definitions: that is what a file really contains.
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        schema.migrate(connection)
        tables = sa.inspect(connection)
        parts = [_INTRODUCTION]
        for name in tables.get_table_names():
            keys = tables.get_pk_constraint(name)["constrained_columns"]
            lines = ["| column | type | key |", "|---|---|---|"]
            lines += [
                f"| `{column['name']}` | {column['type']} | {'primary' if column['name'] in keys else ''} |"
                for column in tables.get_columns(name)
            ]
            parts += [f"## `{name}`", words[name], "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _described() -> dict[str, str]:
    """The docstring beneath the definition of each table, by table name."""
    module = griffe.visit("schema", Path(schema.__file__), Path(schema.__file__).read_text(encoding="utf-8"))
    described = {}
    for name, member in module.members.items():
        table = getattr(schema, name, None)
        if isinstance(table, sa.TableClause) and member.docstring is not None:
            described[table.name] = " ".join(member.docstring.value.split())
    return described
