"""Names say one thing: a class has its name alone, and nothing is a `found` that could be anything."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path for folder in ("autoprec", "scripts", "tests") for path in (ROOT / folder).rglob("*.py")
)
VAGUE = {"found", "known", "made", "stuff", "thing"}


def named(function: ast.FunctionDef) -> set[str]:
    """A function's own name, and what it takes, assigns or defines, without leading underscores."""
    nodes = list(ast.walk(function))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    names |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    names |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    return {name.lstrip("_") for name in names}


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES}), ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_name_is_a_noun_of_the_field(folder: Path) -> None:
    vague = {
        f"{path.name}:{node.name}": names
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (names := named(node) & VAGUE)
    }
    assert vague == {}


def test_a_class_of_the_package_has_its_name_alone() -> None:
    trees = (ast.parse(path.read_text()) for path in (ROOT / "autoprec").rglob("*.py"))
    names = Counter(n.name for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []
