"""The surface of an imported module of pybind11: classes, methods with signatures, properties, enum members.

python dump.py MODULE OUT.json.gz
"""

from __future__ import annotations

import gzip
import importlib
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

HIDDEN = ("__doc__", "__module__", "__members__", "__entries")
SPECIAL = ("__init__", "__call__", "__len__", "__getitem__", "__enter__", "__exit__", "__del__", "__buffer__")


def surface(module: Any) -> dict[str, Any]:
    """The module's public members as data for JSON."""
    members: dict[str, Any] = {"version": module.__version__, "classes": {}, "functions": {}, "values": {}}
    for name in sorted(dir(module)):
        value = getattr(module, name)
        if name.startswith("__"):
            continue
        if isinstance(value, type):
            members["classes"][name] = _class(value)
        elif isinstance(value, types.ModuleType):
            members["values"][name] = "module"
        elif callable(value):
            members["functions"][name] = signatures(value.__doc__) or ["?"]
        else:
            members["values"][name] = f"{type(value).__name__} {value!r}"[:80]
    return members


def signatures(doc: str | None) -> list[str]:
    """The signatures at the start of a pybind11 docstring: one, or several for an overloaded function."""
    lines = (doc or "").strip().splitlines()
    if not lines:
        return []
    if lines[0].rstrip().endswith("Overloaded function."):
        matches = (re.match(r"\s*\d+\.\s+(.*\)\s*(?:->.*)?)$", line) for line in lines[1:])
    else:
        matches = (re.match(r"\s*(\w+\(.*\)\s*(?:->.*)?)$", line) for line in lines[:1])
    return [match.group(1) for match in matches if match]


def _class(native: Any) -> dict[str, Any]:
    bases = [base.__name__ for base in native.__bases__ if base is not object]
    members: dict[str, Any] = {"bases": [name for name in bases if name != "pybind11_object"]}
    if hasattr(native, "__members__"):
        members["enum"] = {name: int(member) for name, member in native.__members__.items()}
    parts: dict[str, dict[str, Any]] = {"methods": {}, "properties": {}, "nested": {}, "other": {}}
    for name, value in sorted(vars(native).items()):
        is_hidden = name in HIDDEN or (name.startswith("__") and name not in SPECIAL)
        if is_hidden or name in members.get("enum", {}):
            continue
        if isinstance(value, type):
            parts["nested"][name] = _class(value)
        elif isinstance(value, property):
            parts["properties"][name] = _property(value)
        elif callable(value) or isinstance(value, staticmethod):
            doc = getattr(value, "__doc__", None) or getattr(
                getattr(value, "__func__", None), "__doc__", None
            )
            parts["methods"][name] = signatures(doc) or ["?"]
        else:
            parts["other"][name] = type(value).__name__
    return members | {kind: names for kind, names in parts.items() if names}


def _property(value: property) -> dict[str, Any]:
    return {
        "ro": value.fset is None,
        "sig": (signatures(value.fget.__doc__) if value.fget else None) or None,
        "setsig": signatures(value.fset.__doc__) if value.fset else None,
        "doc": (value.__doc__ or "").strip()[:160],
    }


if __name__ == "__main__":
    told = json.dumps(surface(importlib.import_module(sys.argv[1])), indent=1, sort_keys=True)
    Path(sys.argv[2]).write_bytes(gzip.compress(told.encode(), mtime=0))
