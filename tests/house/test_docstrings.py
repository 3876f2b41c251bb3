"""What takes four parameters or more says what each of them is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from package_source import MODULES, each_folder, named, parsed


@cache
def protocols() -> list[ast.ClassDef]:
    return [
        node
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(b).startswith("Protocol") for b in node.bases)
    ]


@cache
def described() -> set[str]:
    """Methods that a protocol describes for all classes that have them."""
    methods = (node for protocol in protocols() for node in protocol.body)
    return {node.name for node in methods if isinstance(node, ast.FunctionDef) and has_args(node)}


@cache
def elsewhere() -> set[str]:
    """What another docstring may point to."""
    nodes = (node for path in MODULES for node in ast.walk(parsed(path)))
    return {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef) and has_args(n)}


def has_args(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return "Args:" in (ast.get_docstring(node) or "")


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
            inherited = owner is not None and owner not in protocols() and node.name in described()
            if not inherited:
                yield node.name, parameters(node, is_method=owner is not None), ast.get_docstring(node) or ""


@each_folder
def test_four_parameters_are_described_each(folder: Path) -> None:
    for path in folder.glob("*.py"):
        for name, taken, docstring in public(parsed(path).body):
            if len(taken) < 4 or set(re.findall(r"See `[\w.]*?(\w+)`", docstring)) & elsewhere():
                continue
            _, _, section = docstring.partition("Args:\n")
            heads = re.findall(r"^ {4}([\w, ]+):", section, re.MULTILINE)
            missing = set(taken) - {word for head in heads for word in re.split(r", ", head)}
            # Typer asks commands for the help of each parameter.
            assert folder.name == "cli" or not missing, f"{named(path)}: {name} leaves out {sorted(missing)}"
