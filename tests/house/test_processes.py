"""A process that is started inherits limits: none starts while this one has a lower limit for a moment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from package_source import PACKAGE, each_folder, parsed

ALONE = ("cli", "backends/target/agent", "exporters/scripts")
"""Where nothing else runs: a command's end, and programs of their own."""


def started(node: ast.AST, *, is_held: bool = False) -> Iterator[bool]:
    """For each process that is started, whether `STARTING` is held."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("subprocess.run", "subprocess.Popen"):
        yield is_held
    holds = isinstance(node, ast.With) and ast.unparse(node.items[0]) == "STARTING"
    for child in ast.iter_child_nodes(node):
        yield from started(child, is_held=is_held or holds)


@each_folder
def test_a_process_starts_under_the_lock_that_limits_take(folder: Path) -> None:
    if folder.relative_to(PACKAGE).as_posix().startswith(ALONE):
        return
    for path in folder.glob("*.py"):
        assert all(started(parsed(path))), path
