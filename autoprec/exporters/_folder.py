"""A folder that appears complete or not at all, and never replaces files that autoprec did not write."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoprec.errors import StudyError, cannot, place_written
from autoprec.exporters.manifest import MANIFEST, read_manifest
from autoprec.files import scratch


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A fresh folder that becomes `folder` when the block ends without an error.

    Raises `StudyError` if `folder` holds anything but an earlier export, or cannot be written.
    """
    folder = folder.absolute()
    try:
        _refuse_foreign(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder: a rename to another file system would be a copy, which a kill leaves half done.
        with scratch(f".{folder.name}-", folder.parent) as work:
            fresh = work / "export"
            fresh.mkdir()
            yield fresh
            # Nothing is renamed over a folder with files in it; killed in between, none is left, and no half.
            if folder.exists():
                shutil.rmtree(folder)
            fresh.rename(folder)
    except OSError as error:
        raise StudyError(_told(error, folder)) from error


def _told(error: OSError, folder: Path) -> str:
    if isinstance(error, shutil.Error):  # from copying a tree: a list of one error per file, in words
        (_, name, words), *_ = error.args[0]
        if number := re.match(r"\[Errno (\d+)\]", words):
            words = os.strerror(int(number[1]))
        error = OSError(int(number[1]) if number else 0, words, name)
    return cannot(place_written(error) or folder, error, "name a writable folder", what="be exported")


def _refuse_foreign(folder: Path) -> None:
    """Raises `StudyError` if `folder` holds a file that its manifest does not list, or is a file."""
    if folder.is_dir():
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        ours = (
            {file.name for file in read_manifest(folder).files} | {MANIFEST} if MANIFEST in there else set()
        )
        # Such as an engine that the user has built there: it took time, and must not go.
        foreign = sorted(there - ours)
    elif folder.exists():
        foreign = [folder.name]
    else:
        foreign = []
    if foreign:
        raise StudyError(
            f"{folder}: contains a file that no export wrote ({foreign[0]}); name another folder, or move it"
        )
