"""The one place that every file passes as it is opened, made or named: there it fails, once each.

Python tells its audit hooks of all of these; this one refuses what is written below a folder, in this process
and in those that it starts (a folder on `PYTHONPATH` brings it there as `sitecustomize`).
"""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

HOME, READING = "FAILING_FILES_HOME", "FAILING_FILES_READING"
PLACE = {"open": 0, "os.mkdir": 0, "os.rename": 1, "sqlite3.connect": 0}
"""Of the path among an event's arguments."""


@contextmanager
def failing_once(home: Path, *, reading: bool = False) -> Iterator[None]:
    """Whatever is written below `home` fails the first time, or else what is read.

    What has failed is remembered beside `home`.
    """
    site, record = home.with_name("site"), home.with_name("record")
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(f"exec(compile(open({__file__!r}).read(), 'hook', 'exec'))")
    before = dict(os.environ)
    record.touch()
    os.environ |= {HOME: str(home), READING: "1" * reading}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), *sys.path])
    _install()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def refused(home: Path) -> list[tuple[str, str]]:
    """What has failed: an event with its path, numbers left out, and the module of ours that wanted it."""
    lines = home.with_name("record").read_text().splitlines()
    return [(name, module) for name, module in map(json.loads, lines)]


def _install(hooks: list[object] = []) -> None:  # noqa: B006 - a hook stays as long as its process
    if not hooks:
        hooks.append(_hook)
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if HOME not in os.environ or event not in PLACE:
        return
    path = arguments[PLACE[event]]
    if not isinstance(path, str | bytes | os.PathLike):
        return
    home, is_reading = Path(os.environ[HOME]), bool(os.environ[READING])
    where = Path(os.fsdecode(path).removeprefix("file:").partition("?")[0]).absolute()
    writes = event != "open" or bool(int(str(arguments[2] or 0)) & (os.O_WRONLY | os.O_RDWR))
    if home not in where.parents or writes == is_reading:
        return
    name = f"{event} {_plain(str(where.relative_to(home)))}"
    module = _module()
    if (name, module) in refused(home):
        return
    with home.with_name("record").open("a") as file:
        file.write(json.dumps((name, module)) + "\n")
    if event == "sqlite3.connect":
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error
    number = errno.EMFILE if is_reading else errno.ENOSPC
    raise OSError(number, os.strerror(number), path)


def _plain(path: str) -> str:
    """Without what differs from run to run, or from one trial or sample to the next."""
    return re.sub(r"-\w{8}(?=/|$)|[0-9a-f]{8,}|\d+|(?<=scratch/)\w+$|(?<=\.data\.)\w+|tmp\w{8}", "N", path)


def _module() -> str:
    """The innermost module of ours that is at work, as a path below the package; `` if there is none."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        _, ours, module = frame.f_code.co_filename.rpartition("/autoprec/")
        if ours:
            return module
        frame = frame.f_back
    return ""


if HOME in os.environ:
    _install()
