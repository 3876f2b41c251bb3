"""Copies what the study made: samples with the logits of both engines, the engine, and its kernel timings."""

from __future__ import annotations

import shutil
from pathlib import Path

from autoprec.exporters.manifest import EXAMPLES
from autoprec.records import Export

ENGINE = "model.engine"
TIMINGS = "timing.cache"


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `examples/`, `model.engine` and `timing.cache`, as far as they exist."""
    written: list[Path] = []
    if export.engine_path:
        written.append(Path(shutil.copyfile(export.engine_path, folder / ENGINE)))
    if export.timing_cache_path:
        written.append(Path(shutil.copyfile(export.timing_cache_path, folder / TIMINGS)))
    if export.examples is not None:
        target = folder / EXAMPLES
        shutil.copytree(export.examples.folder, target)
        # Sorted: a folder lists its files in an order of its file system's own.
        written += sorted(path for path in target.rglob("*") if path.is_file())
    return tuple(written)
