"""Which tests can notice a mutant: those that run its lines, and first those that import its file."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from drawing import ROOT

NEVER = 99
"""Distance of a test that does not import the file, even indirectly; another process may still run it."""


def test_files() -> list[str]:
    """Every file of tests, relative to the root."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))


def nearest(
    path: str,
    imports: Mapping[str, set[str]],
    seconds: Mapping[str, float | None],
    running: Container[str] = (),
) -> list[str]:
    """All usable test files: first those that run the changed lines, then the nearest importers, then quick
    ones.

    Args:
        path: the mutated file, relative to the root.
        imports: result of `imports_of`.
        seconds: duration of each test file; None for one that does not end, which is left out.
        running: test files that run the changed lines.
    """
    importers: dict[str, set[str]] = {}
    for importer, names in imports.items():
        for name in names:
            importers.setdefault(name, set()).add(importer)
    distance, queue = {path: 0}, deque([path])
    while queue:
        at = queue.popleft()
        for importer in importers.get(at, ()):
            if importer not in distance:
                distance[importer] = distance[at] + 1
                queue.append(importer)
    usable = [name for name in test_files() if seconds.get(name, 0.0) is not None]
    return sorted(
        usable,
        key=lambda name: (name not in running, distance.get(name, NEVER), seconds.get(name) or 0.0, name),
    )


def imports_of() -> dict[str, set[str]]:
    """The files that each file of package and tests imports, anywhere in it; walking over packages, all."""
    files = [path for folder in ("autoprec", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    modules = {_module(path): str(path.relative_to(ROOT)) for path in files}
    imports = {}
    for path in files:
        names = modules if "walk_packages" in path.read_text(encoding="utf-8") else _names(path)
        imports[str(path.relative_to(ROOT))] = {modules[name] for name in names if name in modules}
    return imports


def _module(path: Path) -> str:
    relative = path.relative_to(ROOT)
    if relative.parts[:2] == ("tests", "kit"):
        return path.stem
    return ".".join(relative.with_suffix("").parts).removesuffix(".__init__")


def _names(path: Path) -> Iterator[str]:
    """All names that may be modules imported by a file: `from a import b` may mean `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
