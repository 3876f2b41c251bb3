"""Deleting what a study has measured: its evidence, and what can be made again. Exports and reports stay."""

from __future__ import annotations

import shutil
from pathlib import Path

from autoprec.entry import is_entry
from autoprec.errors import StudyError
from autoprec.files import resolved
from autoprec.spec import StudySpec
from autoprec.store import Store, exclusive
from autoprec.study.following import is_searched

_MADE = (
    "calibration",
    "candidate.onnx*",
    "early",
    "engines",
    "fidelity",
    "inspections",
    "logs",
    "reference",
    "reference.onnx*",
    "refined",
    "scratch",
    "timing.cache",
    "worker*.log*",
    "study.db*",
)
"""Names in a study's folder that autoprec alone uses: the folder may hold the user's files too. The database
is last: what could not be deleted whole can be deleted again."""


def clear(spec: StudySpec) -> int:
    """Delete a study's trials and the files of its searches; returns the number of bytes freed.

    Raises `StudyError` while the study is being searched, or if it has measured nothing.
    """
    folder, database = Path(spec.folder), spec.database
    if isinstance(database, Path) and not database.exists():
        raise StudyError(f"study {spec.name!r} has measured nothing yet: there is nothing to delete")
    if is_searched(spec):
        raise StudyError(f"study {spec.name!r} is being searched: end that with Ctrl-C first")
    with exclusive(folder):
        # A database of its own goes as a file; one that other studies may share loses only this study's
        # rows.
        if not isinstance(database, Path) or database.parent != folder:
            with Store.open(database) as store:
                store.remove(spec.name)
        size = 0
        theirs = _users(spec)
        for path in (path for pattern in _MADE for path in folder.glob(pattern)):
            if any(resolved(path) in (one, *one.parents) for one in theirs):
                continue  # the user's model or samples may be in a folder of that name
            size += _size(path)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    (folder / "search.lock").unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return size


def _users(spec: StudySpec) -> list[Path]:
    """The files and folders that the definition names, which are never deleted."""
    named = (spec.model.path, spec.pipeline.decoder or "", spec.samples.calibration, spec.samples.evaluation)
    return [resolved(Path(name)) for name in named if name and not is_entry(name)]


def _size(path: Path) -> int:
    files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files)
