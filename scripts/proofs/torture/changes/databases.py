"""Changes SQLite files: their pages, rows and tables."""

from __future__ import annotations

import json
import random
import sqlite3
import struct
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from autoprec.store._seals import sealed
from changes import mutators

_VALUES: tuple[Any, ...] = (
    None, 0, -1, 1 << 62, 1e308, float("inf"), "", "x", "\x1b[2J", "null", "[]", "{}", '{"a": 1}', "nan",
    "1e999",
    b"", b"\xff\xfe", b"\0" * 9, "[" * 60_000, "9" * 5000, "\0", "é" * 70_000,
)  # fmt: skip


def pages(data: bytes, dice: random.Random) -> bytes:
    """Swap, copy, empty or shorten pages; change the header."""
    (size,) = struct.unpack(">H", data[16:18])
    # SQLite stores a page size of 65536 as 1, as the field has 16 bits.
    size = 65536 if size == 1 else size
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    for _ in range(dice.choice((1, 1, 2))):
        first, second = dice.randrange(len(parts)), dice.randrange(len(parts))
        match dice.randrange(7):
            case 0:
                parts[first], parts[second] = parts[second], parts[first]
            case 1:
                parts[first] = parts[second]
            case 2:
                parts[first] = dice.choice((b"\0", b"\xff")) * size
            case 3:
                del parts[max(1, first) :]
            case 4:
                parts[0] = _header(parts[0], dice)
            case 5:
                parts[first] = _cells(parts[first], dice)
            case _:
                parts[first] = mutators.bytes_of(parts[first], dice)
    return b"".join(parts)


def rows(data: bytes, dice: random.Random) -> bytes:
    """Change contents or types of values; drop tables or put others in their place."""
    with tempfile.TemporaryDirectory(prefix="autoprec-torture-rows-") as folder:
        path = Path(folder) / "study.db"
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as connection:
            # The bytes of this one file are returned, so nothing may stay in a log beside it.
            connection.execute("PRAGMA journal_mode = DELETE")
            for _ in range(dice.choice((1, 1, 2))):
                with suppress(sqlite3.Error):
                    _strike(connection, dice)
                    connection.commit()
        return path.read_bytes()


def resealed(data: bytes, dice: random.Random) -> bytes:
    """Change values of a record and seal it with a valid checksum, as another version might have."""
    with tempfile.TemporaryDirectory(prefix="autoprec-torture-rows-") as folder:
        path = Path(folder) / "study.db"
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.row_factory = sqlite3.Row
            table, column = dice.choice(
                (("trials", "record"), ("studies", "identity"), ("studies", "reference"))
            )
            row = dict(dice.choice(connection.execute(f"SELECT * FROM autoprec_{table}").fetchall()))  # noqa: S608
            value = mutators.document(json.loads(row[column]), dice)
            row[column] = mutators.as_json(value).decode(errors="replace")
            row = sealed({key: row[key] for key in row if key != "checksum"})
            key = ("study", "number") if table == "trials" else ("study",)
            where = " AND ".join(f"{name} = ?" for name in key)
            connection.execute(
                f"UPDATE autoprec_{table} SET {column} = ?, checksum = ? WHERE {where}",  # noqa: S608
                (row[column], row["checksum"], *(row[name] for name in key)),
            )
            connection.commit()
        return path.read_bytes()


def _strike(connection: sqlite3.Connection, dice: random.Random) -> None:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    tables = [name for (name,) in connection.execute(query)]
    table = dice.choice([name for name in tables if name.startswith("autoprec")] * 3 + tables)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    column = dice.choice(columns)
    match dice.randrange(10):
        case 9:
            rows = dice.choice(("1", "rowid = (SELECT max(rowid) FROM {0})", "rowid % 2")).format(table)
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute(f"DELETE FROM {table} WHERE {rows}")  # noqa: S608
        case 0:
            connection.execute(f"DROP TABLE {table}")
        case 1:
            connection.execute(f'ALTER TABLE {table} RENAME COLUMN "{column}" TO other')
        case 2:
            connection.execute(f"ALTER TABLE {table} RENAME TO other")
            statement = dice.choice(
                ("VIEW {} AS SELECT 1 AS a", "TABLE {} (a)", "VIEW {} AS SELECT * FROM other")
            )
            connection.execute(f"CREATE {statement.format(table)}")
        case 3:
            event = dice.choice(("INSERT", "UPDATE", "DELETE"))
            act = dice.choice(("SELECT RAISE(ABORT, 'no')", f"DELETE FROM {table}"))  # noqa: S608
            connection.execute(f"CREATE TRIGGER t AFTER {event} ON {table} BEGIN {act}; END")
        case 4:
            connection.execute(f"PRAGMA user_version = {dice.randrange(1 << 30)}")
            connection.execute("PRAGMA writable_schema = 1")
            connection.execute(
                "UPDATE sqlite_master SET sql = ? WHERE name = ?", (dice.choice(_VALUES), table)
            )
        case _:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA ignore_check_constraints = ON")
            ids = [row[0] for row in connection.execute(f"SELECT rowid FROM {table}")]  # noqa: S608
            where = (dice.choice(_VALUES), dice.choice(ids or [0]))
            connection.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', where)  # noqa: S608


def _header(page: bytes, dice: random.Random) -> bytes:
    changed = bytearray(page)
    place = dice.choice((16, 18, 19, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 92, 96))
    struct.pack_into(">H", changed, place, dice.choice((0, 1, 2, 255, 4096, 65535)))
    return bytes(changed)


def _cells(page: bytes, dice: random.Random) -> bytes:
    """Change a field of a page's header or cell pointers: its kind, the number of cells, their offsets."""
    changed = bytearray(page)
    struct.pack_into(
        ">H", changed, dice.randrange(0, 40), dice.choice((0, 1, 13, 0x0D00, 0x0500, 4095, 65535))
    )
    return bytes(changed)
