"""Files: only regular ones are read, each is written whole or not at all, and temporary ones are removed in
the end.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autoprec.errors import NO_ROOM

SHARED_TMPDIR = "AUTOPREC_SHARED_TMPDIR"
"""Tells a worker, whose own temporary files go with its study, where those are that all studies share."""

_MOST_BYTES = 256 << 20
_DEVICES = Path("/dev")


def ensure_regular(path: Path) -> None:
    """Raises OSError for what is not a regular file: a pipe never ends, nor does `/dev/zero`."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENODEV, "is not a regular file", str(path))


def read_small(path: Path) -> bytes:
    """All of a regular file of at most 256 MiB. Raises OSError: a few bytes on disk may claim terabytes."""
    ensure_regular(path)
    with path.open("rb") as file:
        # A read of so many bytes at most asks for as much memory first, however small the file is.
        size = os.fstat(file.fileno()).st_size
        if size > _MOST_BYTES:
            raise OSError(errno.EINVAL, "is too large", str(path))
        return file.read(size)


def not_following(path: str, flags: int) -> int:
    """An `opener` for files of autoprec's own, which writes to no other file by a link, and waits at no pipe.

    Raises OSError for what is not a regular file.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ENODEV, "is not a regular file", path)
    return descriptor


def own_folder(folder: Path, *names: str) -> Path:
    """Make a folder of autoprec's own, `names` below `folder`, and return it.

    Raises OSError for a link on the way: what is written there, or removed, would be somebody else's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        folder = folder / name
        if folder.is_symlink():
            raise OSError(errno.ELOOP, "is a link", str(folder))
        folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """In the block, a full disk is told with the name of this file, or this folder.

    Opening names what cannot be opened; writing names nothing.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` that takes its name when the block ends without an error; its folder is made.

    What is half-written goes. Raises OSError, also for a device or a pipe: root may rename over `/dev/null`.
    """
    is_of_system = path.is_symlink() and path.absolute().parent == _DEVICES
    if is_of_system or (path.exists() and not path.is_file() and not path.is_dir()):
        raise OSError(errno.ENODEV, "is not a regular file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since only within one file system is a rename atomic; by process, for two writers.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with naming(path):
            part.unlink(missing_ok=True)  # a link of that name would be followed
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def resolved(path: Path) -> Path:
    """The absolute path behind all links; of one that goes round, where `Path.resolve` raises, its own."""
    return Path(os.path.realpath(path))


def is_inside(folder: Path, name: str) -> bool:
    """Whether `name` is a file below `folder`, with no link on the way to it."""
    relative = Path(name)
    if not relative.parts or relative.is_absolute() or ".." in relative.parts or "\0" in name:
        return False
    steps = [folder.joinpath(*relative.parts[: count + 1]) for count in range(len(relative.parts))]
    # A link inside the folder may lead out of it.
    return not any(step.is_symlink() for step in steps) and steps[-1].is_file()


@contextmanager
def scratch(prefix: str, folder: Path | None = None) -> Iterator[Path]:
    """A temporary folder, removed at the end of the block; those left by killed processes are removed first.

    Its name is `prefix` and the process; it is made in `folder`, or where temporary files are.
    """
    home = folder or Path(tempfile.gettempdir())
    for leftover in home.glob(f"{prefix}*"):
        # The number tells whose folder it is: one that is in use is left alone.
        process = leftover.name.removeprefix(prefix).partition("-")[0]
        if process.isascii() and process.isdecimal() and not _is_alive(int(process)):
            remove_folder(leftover)
    with (
        tempfile.TemporaryDirectory(dir=home, prefix=f"{prefix}{os.getpid()}-") as fresh,
        naming(Path(fresh)),
    ):
        yield Path(fresh)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all that is in it, as far as that is possible; anything else is left alone."""
    # Of a pipe, `rmtree` would wait for a writer.
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, patterns: Iterable[str]) -> None:
    """Remove what a killed process left in `folder`, as far as that is possible."""
    for pattern in patterns:
        for leftover in folder.glob(pattern):
            if leftover.parent != folder and leftover.parent.is_symlink():
                continue  # what a link leads to is somebody else's
            remove_folder(leftover)
            if leftover.is_symlink() or not leftover.is_dir():
                with suppress(OSError):
                    leftover.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True
