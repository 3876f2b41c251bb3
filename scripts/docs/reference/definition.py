"""The reference of the study definition, from the schema's types, defaults and docstrings."""

from __future__ import annotations

import json
import types
import typing
from typing import Any

import griffe
import msgspec

from autoprec.spec import StudySpec
from autoprec.spec.sections import Section

_WORDS = {str: "string", int: "integer", float: "number", bool: "true or false"}
_INTRODUCTION = """# Study definition

A TOML file. Paths are relative to it. Only `model.path`, `samples.calibration` and `samples.evaluation` are
required; an unknown key is an error.
"""


def definition_page() -> str:
    """A page in Markdown: a section for each table, a row for each key."""
    tables = [field for field in msgspec.structs.fields(StudySpec) if _is_table(field.type)]
    parts = [_INTRODUCTION, _rows(StudySpec, skipped={field.name for field in tables})]
    for field in tables:
        parts += [f"## `[{field.name}]`", _summary(field.type), _rows(field.type)]
    return "\n\n".join(parts) + "\n"


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def described(section: type[Section]) -> dict[str, str]:
    """Descriptions of a table's keys, from its docstring, in Markdown."""
    for part in _docstring(section):
        if part.kind is griffe.DocstringSectionKind.attributes:
            return {entry.name: " ".join(entry.description.split()) for entry in part.value}
    return {}


def _docstring(section: type[Section]) -> list[griffe.DocstringSection]:
    text = griffe.Docstring(section.__doc__ or "", lineno=1, parent=griffe.Class(section.__name__))
    parsed: list[griffe.DocstringSection] = griffe.parse_google(text, warnings=False)
    return parsed


def _summary(section: type[Section]) -> str:
    text = str(_docstring(section)[0].value)
    name, _, rest = text.partition(": ")
    return (rest[0].upper() + rest[1:]) if name.startswith("`[") else text


def _rows(section: type[Section], skipped: typing.Collection[str] = ()) -> str:
    words = described(section)
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{field.name}` | {_kind(field.type)} | {_default(field)} | {words[field.name]} |"
        for field in msgspec.structs.fields(section)
        if field.name not in skipped
    ]
    return "\n".join(lines)


def _kind(kind: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return f"{_kind(arguments[0])}{_bounds(arguments[1:])}"
    if origin is typing.Literal:
        return ", ".join(f'`"{choice}"`' for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(one) for one in arguments if one is not types.NoneType)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"table of {_kind(arguments[1])}"
    return _WORDS[kind]


def _bounds(metas: tuple[Any, ...]) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = [
        f"{sign} {getattr(meta, name):g}"
        for meta in metas
        for name, sign in signs.items()
        if getattr(meta, name) is not None
    ]
    return f" {', '.join(bounds)}" if bounds else ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    """A key's default, in TOML's notation."""
    if field.default is msgspec.NODEFAULT:
        return "none" if field.default_factory is not msgspec.NODEFAULT else "required"
    if field.default is None:
        return "none"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{json.dumps(value)}`"
