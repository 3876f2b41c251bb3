"""What takes four parameters or more says what each of them is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "autoprec"
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "cli"]
"""Typer asks commands for the help of each parameter."""
PLACES = {path: ast.parse(path.read_text()) for path in MODULES}
PROTOCOLS = [
    node
    for tree in PLACES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in node.bases)
]
DESCRIBED = {
    function.name
    for protocol in PROTOCOLS
    for function in protocol.body
    if isinstance(function, ast.FunctionDef) and "Args:" in (ast.get_docstring(function) or "")
}
"""Methods that a protocol describes for all classes that have them."""

ELSEWHERE = {
    node.name
    for tree in PLACES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and "Args:" in (ast.get_docstring(node) or "")
}
"""What another docstring may point to."""


def parameters(function: ast.FunctionDef, *, is_method: bool) -> list[str]:
    of = function.args
    names = [a.arg for a in (*of.posonlyargs, *of.args, *of.kwonlyargs, *filter(None, [of.vararg, of.kwarg]))]
    is_static = any(ast.unparse(d) == "staticmethod" for d in function.decorator_list)
    return names[1:] if is_method and not is_static else names


def public(body: list[ast.stmt], owner: ast.ClassDef | None = None) -> Iterator[tuple[str, list[str], str]]:
    """(name, parameters, docstring); a class is what its `__init__` takes."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node.body, node)
        elif isinstance(node, ast.FunctionDef) and owner is not None and node.name == "__init__":
            yield owner.name, parameters(node, is_method=True), ast.get_docstring(owner) or ""
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            inherited = owner is not None and owner not in PROTOCOLS and node.name in DESCRIBED
            if not inherited:
                yield node.name, parameters(node, is_method=owner is not None), ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_four_parameters_are_described_each(path: Path) -> None:
    for name, taken, docstring in public(PLACES[path].body):
        if len(taken) < 4 or set(re.findall(r"See `[\w.]*?(\w+)`", docstring)) & ELSEWHERE:
            continue
        _, _, section = docstring.partition("Args:\n")
        heads = re.findall(r"^ {4}([\w, ]+):", section, re.MULTILINE)
        described = {word for head in heads for word in re.split(r", ", head)}
        assert described.issuperset(taken), f"{name} leaves out {sorted(set(taken) - described)}"
