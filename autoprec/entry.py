"""User functions, named `module:function` in a definition.

Modules come from where Python finds them (installed, or on PYTHONPATH), never from beside a data file.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from autoprec.errors import SpecError

_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_entry(text: str) -> bool:
    """Whether a text has the form `module:function`."""
    return _ENTRY.fullmatch(text) is not None


def load_entry(key: str, text: str) -> Callable[..., Any]:
    """The function that `text` names; `key` is where the definition has it.

    Raises `SpecError` where the module cannot be imported or has no such function.
    """
    module, _, name = text.partition(":")
    try:
        value = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # a module of the user's may raise anything
        words = f"{type(error).__name__}: {error}"
        raise SpecError(
            f"{key}: the module {module!r} cannot be imported ({words}); install it, or name its folder in "
            "PYTHONPATH"
        ) from error
    if not callable(value):
        raise SpecError(f"{key}: the module {module!r} has no function {name!r}")
    function: Callable[..., Any] = value
    return function
