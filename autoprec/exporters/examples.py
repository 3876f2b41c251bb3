"""Samples with the logits of both engines, and the built engine: copies of what the study made."""

from __future__ import annotations

import shutil
from pathlib import Path

from autoprec.exporters.manifest import EXAMPLES
from autoprec.records import Export

ENGINE = "model.engine"


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `examples/` and `model.engine`, as far as there are such."""
    written: list[Path] = []
    if export.engine_path:
        written.append(Path(shutil.copyfile(export.engine_path, folder / ENGINE)))
    if export.examples is not None:
        target = folder / EXAMPLES
        shutil.copytree(export.examples.folder, target)
        written += sorted(path for path in target.rglob("*") if path.is_file())
    return tuple(written)
