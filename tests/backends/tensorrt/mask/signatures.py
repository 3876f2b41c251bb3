"""Signatures as pybind11 writes them into docstrings."""

from __future__ import annotations

import functools
import inspect
import re


@functools.cache
def signature_of(text: str) -> inspect.Signature | None:
    """The parameters of a signature as pybind11 writes it; None where it says nothing of them."""
    found = re.match(r"\w+\((.*)\)", text)
    if found is None or found[1].startswith("*args"):
        return None
    kind, depth, parts = inspect.Parameter.POSITIONAL_OR_KEYWORD, 0, [""]
    for character in found[1]:
        depth += (character in "[(<") - (character in "])>")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    names = [(part.strip().partition(":")[0], " = " in part) for part in parts if part.strip()]
    return inspect.Signature(
        [inspect.Parameter(n, kind, default=None if has else inspect.Parameter.empty) for n, has in names]
    )
