"""Scripts that are the same for every export: nothing is written into them, so no name can break them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from autoprec.records import Export

SCRIPTS = Path(__file__).parent / "scripts"


def script(name: str) -> Callable[[Export, Path], tuple[Path, ...]]:
    """An exporter that copies one of `scripts/`; it reads shapes and figures from the manifest."""

    def write(_export: Export, folder: Path) -> tuple[Path, ...]:
        return (Path(shutil.copyfile(SCRIPTS / name, folder / name)),)

    return write
