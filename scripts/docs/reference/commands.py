"""The command line's reference, from the commands themselves."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.cli import get_docs_for_click

from autoprec.cli import app


def commands_page() -> str:
    """A page in Markdown: each command with its arguments, options and an example."""
    command: Any = typer.main.get_command(app)
    context = typer.Context(command, info_name="autoprec")
    text = get_docs_for_click(obj=command, ctx=context, name="autoprec", title="Command line")
    text = re.sub(r"^Example: (.+)$", r"Example: `\1`", text, flags=re.MULTILINE)
    for name in command.list_commands(context):
        # Typer truncates summaries for the width of a terminal.
        summary = (command.get_command(context, name).help or "").partition("\n\n")[0]
        whole = rf"* [`{name}`](#autoprec-{name}): {' '.join(summary.split())}".replace("\\", r"\\")
        text = re.sub(rf"^\* `{name}`: .*$", whole, text, count=1, flags=re.MULTILINE)
    return text + "\n"
