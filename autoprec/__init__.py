"""autoprec finds, overnight, the precision of every block of an ONNX mask model.

`Study` has the verbs of the command line. Importing it loads no engine: a backend loads when it is named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprec.study import Study, Watcher, write_definition

__all__ = ["Study", "Watcher", "write_definition"]


def __getattr__(name: str) -> Any:
    """The public names load when they are used: workers, which import this first, need no database."""
    if name not in __all__:
        raise AttributeError(f"module 'autoprec' has no attribute {name!r}")
    return getattr(importlib.import_module("autoprec.study"), name)


def __dir__() -> list[str]:
    return __all__
