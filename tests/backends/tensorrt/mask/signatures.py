"""Signatures as pybind11 writes them into docstrings."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable
from typing import Any


@functools.cache
def signature_of(text: str) -> inspect.Signature | None:
    """The parameters of a signature as pybind11 writes it; None where it says nothing of them."""
    match = re.match(r"\w+\((.*)\)", text)
    if match is None or match[1].startswith("*args"):
        return None
    kind, depth, parts = inspect.Parameter.POSITIONAL_OR_KEYWORD, 0, [""]
    for character in match[1]:
        depth += (character in "[(<") - (character in "])>")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    names = [(part.strip().partition(":")[0], " = " in part) for part in parts if part.strip()]
    return inspect.Signature(
        [inspect.Parameter(n, kind, default=None if has else inspect.Parameter.empty) for n, has in names]
    )


def bind(name: str, signatures: Iterable[str], given: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Raises `TypeError` if the arguments fit no signature."""
    parsed = [signature_of(text) for text in signatures]
    for signature in parsed:
        try:
            (signature or inspect.signature(unserved)).bind(*given, **named)
        except TypeError:
            continue
        return
    raise TypeError(f"{name}(): incompatible function arguments; supported are {'; '.join(signatures)}")


def unserved(*args: Any, **kwargs: Any) -> None:
    """Fits all arguments."""
