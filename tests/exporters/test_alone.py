"""Scripts of an export stand alone, so they repeat what they share: it is alike in all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from autoprec.exporters._script import SCRIPTS


def definitions(name: str) -> Iterator[str]:
    """How each script defines a function, without its docstring."""
    for path in SCRIPTS.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                yield "\n".join(map(ast.unparse, (node.args, *node.body[1:])))


@pytest.mark.parametrize("name", ["visible", "cannot"])
def test_scripts_define_what_they_share_alike(name: str) -> None:
    first, *others = definitions(name)
    assert len(others) > 1
    assert set(others) == {first}
