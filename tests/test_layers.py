"""The house's rule: a module imports only from rows above its own, and size limits hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autoprec"
ROWS = (
    ("errors",),
    ("precisions", "closing", "entry", "files", "import_path", "interrupts", "loading", "reading", "visible"),
    ("kept", "rehearsal"),
    ("records",),
    ("spec",),
    ("samples", "graph", "backends", "quality", "store", "report", "exporters"),
    ("calibration", "isolation"),
    ("legality", "writing"),
    ("sensitivity", "measurement", "search", "refinement"),
    ("study", "recipes", "demo"),
    ("cli", "__init__"),
    ("__main__",),
)
ROW = {room: number for number, row in enumerate(ROWS) for room in row}
FLOORS = (("grids",), ("ops",), ("model", "statistics", "blocks"), ("variants",), ("rewrite",))
"""The rooms of `graph/`, by the same rule."""
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
MODULES = sorted(PACKAGE.rglob("*.py"))
each_folder = pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES}), ids=lambda path: str(path.relative_to(PACKAGE))
)


def trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """The modules of a folder, parsed."""
    for path in sorted(folder.glob("*.py")):
        yield path, ast.parse(path.read_text())


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST, room: str = "") -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 or room == "reading", "absolute imports only, but in what exports ship"
            if node.module == "autoprec":
                yield from (alias.name for alias in node.names)
            elif (node.module or "").startswith("autoprec."):
                yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("autoprec."))


@each_folder
def test_a_module_imports_only_from_rows_above_its_own(folder: Path) -> None:
    for path, tree in trees(folder):
        room = room_of(path)
        for other in set(imported_rooms(tree, room)) - {room}:
            assert ROW[other] < ROW[room], f"{path} (row {ROW[room]}) imports {other} (row {ROW[other]})"


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "graph").glob("*/*.py")), ids=lambda p: f"{p.parent.name}/{p.name}"
)
def test_a_room_of_the_graph_imports_only_from_floors_below_its_own(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autoprec.graph."):
            other = str(node.module).split(".")[2]
            assert other == path.parent.name or FLOOR[other] < FLOOR[path.parent.name], node.module


@each_folder
def test_files_and_functions_stay_short(folder: Path) -> None:
    for path, tree in trees(folder):
        assert path.read_text().count("\n") <= 300, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name} is over 60 lines"


@each_folder
def test_only_a_backend_imports_inside_a_function(folder: Path) -> None:
    for path, tree in trees(folder):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and room_of(path) != "backends":
                inner = [n for n in ast.walk(node) if isinstance(n, (ast.Import, ast.ImportFrom))]
                assert not inner, f"{path}: {node.name} imports inside"


def test_modules_import_one_another_in_no_circle() -> None:
    """Imports that wait for their first use count: who reads one module should need no other's story."""
    names = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in MODULES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                wanted = {(f"{node.module}.{alias.name}", str(node.module)) for alias in node.names}
                own = {full if full in names else module for full, module in wanted} & set(names)
                graph.setdefault(name, set()).update(own - {name})
    assert "autoprec.cli._views" in graph["autoprec.cli._parts"]
    TopologicalSorter(graph).prepare()
