"""No engine is spelled outside `backends/`: a backend that is added is served as those that are there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from package_source import PACKAGE, each_folder, named, parsed

from autoprec.backends import BACKENDS, PACKAGES

ENGINES = {*BACKENDS, *PACKAGES, "cuda", "GPU", "CUDA_VISIBLE_DEVICES"} - {"target"}
SPELLED_THERE = {
    "spec/sections.py": {"openvino"},  # the default of `backend.name`
    "cli/export.py": {"openvino"},  # the name of an exporter
    "study/cluster/places.py": {"GPU"},  # Ray's word
}
"""`exporters/` writes for engines by name, whatever was measured with."""


def spelled(tree: ast.Module) -> Iterator[str]:
    """Engines in texts that are nothing else, and in imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in ENGINES:
            yield str(node.value)
        if isinstance(node, ast.ImportFrom):
            path = (node.module or "").split(".")
            if path[:2] == ["autoprec", "backends"] and path[2:3] and path[2] in {*BACKENDS} - {"target"}:
                yield path[2]


@each_folder
def test_no_engine_is_spelled_outside_backends(folder: Path) -> None:
    if folder.relative_to(PACKAGE).parts[:1] in (("backends",), ("exporters",)):
        return
    for path in folder.glob("*.py"):
        allowed = SPELLED_THERE.get(named(path), set())
        assert set(spelled(parsed(path))) <= allowed, path
