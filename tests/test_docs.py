"""The documentation: the reference is generated from all that the code has, and links and commands hold."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
import typer

import autoprec
from autoprec.cli import app
from autoprec.spec import StudySpec
from autoprec.store import _schema as schema
from reference.commands import commands_page
from reference.database import database_page
from reference.definition import definition_page
from reference.python_api import python_page

TOP = Path(__file__).parent.parent
PAGES = [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")]


def options_of(command: typer._click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }


def test_the_reference_has_every_key_of_every_table() -> None:
    page = definition_page()
    for field in msgspec.structs.fields(StudySpec):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            rows = page.split(f"## `[{field.name}]`")[1].split("\n## ")[0]
            assert all(f"| `{key.name}` |" in rows for key in msgspec.structs.fields(field.type))
        else:
            assert f"| `{field.name}` |" in page


def test_the_reference_has_every_public_name() -> None:
    page = python_page()
    assert all(f".{name}\n" in page for name in autoprec.__all__ if not name.startswith("_"))


def test_the_reference_has_every_command() -> None:
    page = commands_page()
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f"## `autoprec {name}`" in page


def test_the_reference_has_every_table_of_the_store() -> None:
    page = database_page()
    tables = [value for value in vars(schema).values() if isinstance(value, sa.TableClause)]
    assert len(tables) >= 10
    assert all(f"## `{table.name}`" in page for table in tables)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_a_command_in_the_documentation_takes_the_options_that_it_is_given(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, rest in re.findall(r"(?:autoprec|scripts/run) ([a-z]+)([^\n`|#]*)", page.read_text()):
        if name in commands and not hasattr(commands[name], "commands"):
            given = set(re.findall(r"(?<!\S)--[a-z-]+", rest))
            assert given <= options_of(commands[name]), f"autoprec {name}{rest}"


def test_the_readme_links_to_what_is_there() -> None:
    for page in TOP.glob("*.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (TOP / target).exists(), f"{page.name}: {target}"
