"""autoprec finds, overnight, the precision of every block of an ONNX mask model.

`Study` has the verbs of the command line. Importing it loads no engine: a backend loads when it is named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprec.recipes.writing import write_definition
    from autoprec.study import Study, Watcher

__all__ = ["Study", "Watcher", "write_definition"]


def __getattr__(name: str) -> Any:
    """The public names load when they are used: workers, which import this first, need no database."""
    if name not in __all__:
        raise AttributeError(f"module 'autoprec' has no attribute {name!r}")
    home = "autoprec.recipes.writing" if name == "write_definition" else "autoprec.study"
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
