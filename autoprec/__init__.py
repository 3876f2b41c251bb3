"""autoprec finds, overnight, the precision of every block of an ONNX mask model.

`Study` has the verbs of the command line, and the records are what its methods return. Importing the package
loads nothing: names load when they are used, and an engine when a study names it.
"""

from __future__ import annotations

import importlib
import os
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprec.errors import AutoprecError, UserError
    from autoprec.recipes.writing import write_definition
    from autoprec.records import (
        Assignment,
        Block,
        BlockAudit,
        BlockDifference,
        Explanation,
        Failure,
        Fingerprint,
        Interval,
        Latency,
        Layerwise,
        Measurement,
        Quality,
        Reference,
        TrialRecord,
    )
    from autoprec.report import Chart, Front, LiveProgress
    from autoprec.study import Study, Watcher, compare_studies, verify_export

    __version__: str

# ONNX Runtime 1.32 would report to its maker, and leave a session file in the temporary folder. If the
# variable is set already, it stays as it is.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Optuna imports tqdm, which warns in a notebook without ipywidgets of a bar that autoprec never shows.
warnings.filterwarnings("ignore", message="IProgress not found")

__all__ = [
    "Assignment",
    "AutoprecError",
    "Block",
    "BlockAudit",
    "BlockDifference",
    "Chart",
    "Explanation",
    "Failure",
    "Fingerprint",
    "Front",
    "Interval",
    "Latency",
    "Layerwise",
    "LiveProgress",
    "Measurement",
    "Quality",
    "Reference",
    "Study",
    "TrialRecord",
    "UserError",
    "Watcher",
    "__version__",
    "compare_studies",
    "verify_export",
    "write_definition",
]
_HOMES = {
    "Study": "autoprec.study",
    "Watcher": "autoprec.study",
    "compare_studies": "autoprec.study",
    "verify_export": "autoprec.study",
    "write_definition": "autoprec.recipes.writing",
    "Chart": "autoprec.report",
    "Front": "autoprec.report",
    "LiveProgress": "autoprec.report",
    "AutoprecError": "autoprec.errors",
    "UserError": "autoprec.errors",
}
"""The modules that public names are from; the others are records."""


def __getattr__(name: str) -> Any:
    """The public names load when they are used: workers, which import this first, need no database."""
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module 'autoprec' has no attribute {name!r}")
    module = _HOMES.get(name, "autoprec.records")
    try:
        home = importlib.import_module(module)
    except AttributeError as error:
        # Left as it is, Python would say that there is no such name here, and not what is wrong there.
        raise ImportError(f"{module} cannot be imported: {error}") from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__


def _version() -> str:
    """Of the installed package; a source tree that is only on the path has none."""
    metadata = importlib.import_module("importlib.metadata")
    try:
        return str(metadata.version("autoprec"))
    except metadata.PackageNotFoundError:
        return "not installed"
