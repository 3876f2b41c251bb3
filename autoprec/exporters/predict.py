"""`predict.py`, what it writes masks with, and `reading/`, the code by which the search reads samples."""

from __future__ import annotations

import shutil
from pathlib import Path

from autoprec import reading
from autoprec.exporters._script import script
from autoprec.records import Export

READING = "reading"


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `predict.py`, `mask_picture.py` and `reading/`."""
    (folder / READING).mkdir()
    # Sources alone: what Python compiled of them serves no other version, and may be older than they are.
    modules = sorted(Path(reading.__path__[0]).glob("*.py"))
    copies = [Path(shutil.copyfile(module, folder / READING / module.name)) for module in modules]
    return (*script("predict.py", "mask_picture.py")(export, folder), *copies)
