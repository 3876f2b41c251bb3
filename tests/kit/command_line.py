"""The command line in this process, for tests."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import pytest

from autoprec.cli import main


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def autoprec(*words: str, folder: Path) -> Result:
    """Run the command line in this process, as its entry point does."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main(words)
    return Result(int(str(end.value.code or 0)), out.getvalue(), err.getvalue())
