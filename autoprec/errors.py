"""The error tree: everything that autoprec raises on purpose.

    AutoprecError
    ├── UserError              the user can fix it: one line, exit code 2
    │   ├── SpecError          the study definition
    │   ├── ModelError         an ONNX file, or what was requested of it
    │   ├── SamplesError       images, prompts, arrays
    │   ├── StudyError         the study's database or folder
    │   └── BackendError       an engine that is not there or cannot serve
    ├── InternalError          autoprec is at fault in all that it tries: one line, exit code 70
    └── TrialError             one candidate failed; becomes a failed trial with its kind

A message names the thing, says what is wrong, and what to do next. Whatever else is raised is a fault of
autoprec: `place_of` and `traceback_of` describe it without a word of the user's data.
"""

from __future__ import annotations

import errno
import re
import sysconfig
import traceback
from pathlib import Path
from typing import Literal

FailureKind = Literal[
    "rewrite",
    "build",
    "run",
    "nan",
    "wrong",
    "timeout",
    "memory",
    "crash",
    "interrupted",
    "killed",
    "internal",
]
"""`wrong`: it runs, but the engine computes something other than its file, so it is never recommended."""
BLAMELESS: frozenset[FailureKind] = frozenset({"interrupted", "killed", "internal"})
"""Kinds that say nothing about the candidate: the search was stopped, something outside killed the worker,
or autoprec is at fault. Nobody may learn from them."""
_MACHINE = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
        errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
        errno.ENAMETOOLONG, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.ETXTBSY, errno.EBUSY,
        errno.ENODEV, errno.ENXIO, errno.ESTALE,
    }
)  # fmt: skip
"""What the system says of files and its own limits: nothing that code could be at fault for."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The disk, or what a user or a file may have of it, is full."""
_IN_THE_WAY = frozenset(
    {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENODEV, errno.ENXIO}
)
"""Something else lies where a file or a folder is to be: a folder, a file, a pipe, a device."""
_STARVED = re.compile("failed to map segment|cannot allocate memory|bad.alloc", re.IGNORECASE)
"""What the loader of libraries and C++ say where no memory is left."""
_CROWDED = re.compile("start new thread|resource temporarily unavailable", re.IGNORECASE)
"""What Python, C++ and the system say where no thread, or no process, can start."""
_NO_TEXT = re.compile("[\udc80-\udcff]")
"""What Python makes of bytes in a file's name that are not UTF-8."""


class AutoprecError(Exception):
    """Root of every error that autoprec raises on purpose."""


class UserError(AutoprecError):
    """Something that the user can fix; the command line prints it as one line and exits with 2."""


class SpecError(UserError):
    """A study definition is missing, malformed or asks for an impossible combination."""


class ModelError(UserError):
    """An ONNX model is missing, corrupt, outside its folder, or does not fit the definition."""


class SamplesError(UserError):
    """Images, prompts or arrays are missing, empty, or hold NaN."""


class StudyError(UserError):
    """A study's database or folder is not ours, locked, newer, full, or belongs to other inputs."""


class BackendError(UserError):
    """An engine is not installed, or has no device to run on."""


class InternalError(AutoprecError):
    """A fault of autoprec that ends a run: its place is known, and the user cannot mend it."""


class TrialError(AutoprecError):
    """One candidate failed. The trial loop turns it into a failed trial; the search continues.

    Attributes:
        kind: which step failed; one of `FailureKind`.
    """

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind


def how_to_install(extra: str) -> str:
    """The command that installs an extra of autoprec. Every message takes it from here: change it once
    autoprec is in a package index."""
    return f"`pip install '.[{extra}]'` in a clone of autoprec"


def exhausted(error: BaseException) -> str:
    """What to do about a limit of the machine's that was reached; empty for any other error.

    Such an error says nothing of the file that was read at the time.
    """
    # A library that is loaded, a thread, or C++ tells of a limit in words alone.
    number = error.errno if isinstance(error, OSError) else None
    words = str(error) if isinstance(error, ImportError | RuntimeError | BlockingIOError) else ""
    if number in (errno.EMFILE, errno.ENFILE) or "too many open files" in words.lower():
        return "too many files are open; raise the limit with `ulimit -n`, and run it again"
    if _CROWDED.search(words):
        return "no further thread or process can start; close other programs, or raise `ulimit -u` and `-v`"
    if number == errno.ENOMEM or isinstance(error, MemoryError) or _STARVED.search(words):
        return "out of memory; close other programs, or use a smaller model or fewer samples"
    return ""


def cannot(path: Path | str, error: OSError, otherwise: str = "", *, what: str = "be written") -> str:
    """That a file or a folder cannot `what`, why, and what to do about it, in one line.

    Args:
        path: of the file or the folder.
        error: what the system said.
        otherwise: what helps unless the disk or a limit is at fault: as "name another file".
        what: what was tried.
    """
    advice = (
        exhausted(error) or _advice(error, otherwise) or otherwise or "make it writable, and run it again"
    )
    return f"{path}: cannot {what} ({error.strerror}); {advice}"


def place_written(error: OSError) -> str | None:
    """The file that an error is about. Copying names both, and what is full is where the second one lies."""
    name: str | None = error.filename2 if error.errno in NO_ROOM and error.filename2 else error.filename
    return name


def _advice(error: OSError, otherwise: str = "") -> str:
    """What to do about what the system said of a file; empty where that depends on what the file is for."""
    number = error.errno
    if number == errno.EFBIG:
        return "raise the limit with `ulimit -f`, and run it again"
    if number in NO_ROOM:
        return "free some space there, and run it again"
    if number == errno.ELOOP:
        return "remove the link: none is followed there"
    if number in _IN_THE_WAY:
        return f"move away what lies there, {f'or {otherwise}' if otherwise else 'and run it again'}"
    return "check the disk, and run it again" if number == errno.EIO else ""


def machine_fault(error: BaseException) -> str:
    """What the user can do about an error of the system's, in one line; empty for any other error."""
    if words := exhausted(error):
        return words
    if isinstance(error, UnicodeEncodeError) and _NO_TEXT.search(error.object):
        place = slice(max(0, error.start - 60), error.end + 60)
        return f"{error.object[place]!a} has a name that is not UTF-8; rename the file or the folder"
    if not isinstance(error, OSError) or error.errno not in _MACHINE:
        return ""
    name = place_written(error)
    if not name and _is_adrift():
        return "the working folder was deleted; go to one that is there, and run it again"
    where = f"{name}: " if name else ""
    advice = _advice(error) or "fix that, and run it again"
    return f"{where}{error.strerror}; {advice}; what was finished is kept"


def _is_adrift() -> bool:
    """Whether the working folder is gone, so that no path can be made absolute."""
    try:
        Path.cwd()
    except OSError:
        return True
    return False


def place_of(error: BaseException) -> str:
    """The innermost place in autoprec that an error passed, as `autoprec/spec.py:120 in _check`."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(__file__).parent in Path(frame.filename).parents] or frames
    return f"{_shown(ours[-1].filename)}:{ours[-1].lineno} in {ours[-1].name}" if ours else "nowhere"


def traceback_of(error: BaseException) -> str:
    """The traceback with kinds of errors alone: their words, and paths, may be the user's."""
    lines: list[str] = []
    current: BaseException | None = error
    # Bounded, since a chain of causes may go round.
    while current is not None and len(lines) < 1000:
        frames = traceback.extract_tb(current.__traceback__)
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}")
        lines += [f"  {_shown(f.filename)}:{f.lineno} in {f.name}: {f.line}" for f in frames]
        current = current.__cause__ or current.__context__
    return "\n".join(lines) + "\n"


def _shown(file: str) -> str:
    """A source file within its package; the bare name of any other."""
    for folder in (Path(__file__).parent.parent, *map(Path, sysconfig.get_paths().values())):
        if folder in Path(file).parents:
            return Path(file).relative_to(folder).as_posix()
    return Path(file).name
