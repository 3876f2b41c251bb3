"""Scripts that are equal in every export: nothing is written into them, so no name can break them."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from autoprec.records import Export

SCRIPTS = Path(__file__).parent / "scripts"


def quoted(text: str) -> str:
    """A word for a POSIX shell, with octal escapes for what would control a terminal."""
    if text.isprintable():
        return shlex.quote(text)
    # What `printf` would read as its own is escaped as well.
    letters = (c if c.isprintable() and c not in "\\%" else _octal(c) for c in text)
    return f'"$(printf -- {shlex.quote("".join(letters))})"'


def _octal(letter: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in letter.encode())


def script(*names: str) -> Callable[[Export, Path], tuple[Path, ...]]:
    """An exporter that copies files of `scripts/`, which read shapes and figures from the manifest."""

    def write(_export: Export, folder: Path) -> tuple[Path, ...]:
        return tuple(Path(shutil.copyfile(SCRIPTS / name, folder / name)) for name in names)

    return write
