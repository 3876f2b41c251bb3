"""`verify.py` and what it needs beside it: how to time, and how to score by the study's metric."""

from __future__ import annotations

import shutil
from pathlib import Path

from autoprec.exporters._script import script
from autoprec.records import Export

METRIC = "metric.py"


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `verify.py`, `paired_timing.py`, and `metric.py` unless the metric is the user's own code."""
    written = script("verify.py", "paired_timing.py")(export, folder)
    if export.metric_path:
        written += (Path(shutil.copyfile(export.metric_path, folder / METRIC)),)
    return written
