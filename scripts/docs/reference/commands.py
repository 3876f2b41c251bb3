"""The command line's reference, from the commands themselves."""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click

from autoprec.cli import app


def commands_page() -> str:
    """Markdown: every command with its arguments, options and an example."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="autoprec")
    text = get_docs_for_click(obj=command, ctx=context, name="autoprec", title="Command line")
    return "\n".join(map(_line, text.splitlines())) + "\n"


def _line(line: str) -> str:
    """An example as code; any other line as it is."""
    label, separator, words = line.partition("Example: ")
    return f"Example: `{words}`" if separator and not label else line
