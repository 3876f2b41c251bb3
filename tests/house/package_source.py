"""The package's own modules, each parsed once in a process, for the tests of how they are written."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "autoprec"
MODULES = sorted(PACKAGE.rglob("*.py"))
# One test for each folder: a test for each file takes longer to collect, in every process, than to run.
each_folder = pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES}), ids=lambda path: str(path.relative_to(PACKAGE))
)


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text())


def named(path: Path) -> str:
    """How a test names a module: its path in the package."""
    return path.relative_to(PACKAGE).as_posix()
