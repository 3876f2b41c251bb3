"""Writes definitions by the grammar of TOML: the keys of a sound one, some with a value of any kind, in any
spelling that TOML allows."""

from __future__ import annotations

import random
import tomllib
from typing import Any

_KEYS = (
    "budget", "seed", "patience", "threads", "options", "input", "size", "count", "path", "name",
    "precisions", "metric", "threshold", "output", "layout", "accepted_loss", "max_memory_mb", "strategy",
    "devices", "jobs", "__class__", "include", "address", "folder", "storage", "resize", "mean", "std",
)  # fmt: skip


def definition(data: bytes, dice: random.Random) -> bytes:
    """Write the definition anew, with a few values drawn at random."""
    return ("\n".join(_table(tomllib.loads(data.decode()), (), dice)) + "\n").encode("utf-8", "surrogatepass")


def _table(table: dict[str, Any], path: tuple[str, ...], dice: random.Random) -> list[str]:
    lines, later = [], []
    items = list(table.items())
    if dice.random() < 0.2:
        items.append((dice.choice(_KEYS), {} if dice.random() < 0.3 else 1))
    if dice.random() < 0.2:
        dice.shuffle(items)
    for key, value in items:
        if isinstance(value, dict) and dice.random() < 0.85:
            form = dice.choice(("[{}]",) * 9 + ("[[{}]]",))
            later += [form.format(_dotted((*path, key), dice)), *_table(value, (*path, key), dice)]
        else:
            drawn = _value(0, dice) if dice.random() < 0.08 else _plain(value, dice)
            lines.append(
                f"{_key(key, dice)}{dice.choice((' = ', '=', '  =  '))}{drawn}{dice.choice(('', ' # é'))}"
            )
    return lines + later


def _dotted(path: tuple[str, ...], dice: random.Random) -> str:
    return dice.choice((".", " . ")).join(_key(key, dice) for key in path)


def _key(key: str, dice: random.Random) -> str:
    return dice.choice((key,) * 4 + (f'"{key}"', f"'{key}'", f'"\\u{ord(key[0]):04x}{key[1:]}"'))


def _plain(value: Any, dice: random.Random) -> str:
    """The same value in a random spelling."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key, dice)} = {_plain(one, dice)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        gap = dice.choice(("", " ", "\n", " # a\n"))
        return "[" + gap + f",{gap}".join(_plain(one, dice) for one in value) + gap + "]"
    if isinstance(value, int):
        return dice.choice(
            (
                str(value),
                f"{value:+d}" if value >= 0 else str(value),
                f"{value:#x}" if value >= 0 else str(value),
            )
        )
    if isinstance(value, float):
        return dice.choice((repr(value), f"{value:e}", f"{value:+}"))
    text = str(value)
    return dice.choice((f'"{text}"', f"'{text}'", f'"""\n{text}"""', f"'''{text}'''", f'"""{text}\\\n   """'))


def _value(depth: int, dice: random.Random) -> str:
    """A random TOML value, nested up to four levels."""
    if depth < 4 and dice.random() < 0.35:
        count = dice.choice((0, 1, 2, 3, 40))
        parts = [_value(depth + 1, dice) for _ in range(count)]
        if dice.random() < 0.5:
            return "[" + ", ".join(parts) + "]"
        return (
            "{"
            + ", ".join(
                f"{_key(dice.choice(_KEYS), dice)}{number or ''} = {part}"
                for number, part in enumerate(parts)
            )
            + "}"
        )
    return dice.choice(
        (
            "0", "-0", "+0.0", "-1", "1_000_000", "0xdead_beef", "0o755", "0b1111", "9223372036854775807",
            "9223372036854775808", "-9223372036854775809", "1" + "0" * 400, "1e400", "-1e-400", "5e-324",
            "inf", "-inf", "+nan", "1979-05-27T07:32:00.999999-07:00", "1979-05-27 07:32:00", "1979-05-27",
            "07:32:00", "9999-12-31", "0001-01-01T00:00:00+23:59", "true", "false", '""', "''", '"\\u0000"',
            '"\\U0010ffff"', '"\\e[2J"', '"\\t\\r\\b\\f"', '"a\\u0085b\\u2028c"', '"\\u202e\\u2066"',
            '"../../etc"', '"//host/share"', '"C:\\\\x"', '"~root"', '"-rf"', '"${HOME}"', '"openvino"',
            '"tensorrt"', '"tpe"', '"int8"', '"sqlite:///x"', '"file:///dev/zero"', '"a" * 3',
            '"postgresql+psycopg://x:y@127.0.0.1:1/z"', '"http://127.0.0.1:1/"',
        )
    )  # fmt: skip
