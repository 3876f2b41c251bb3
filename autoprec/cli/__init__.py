"""The command line: parse, call one public function, print. Exit code 2 for a user's mistake.

One module for each thing that commands are about; each adds its commands to the one application.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from autoprec.cli import init, doctor, blocks, search, front, trial, report, export  # isort: skip  # the help's order
from autoprec.cli._app import EXIT_USER_ERROR, app
from autoprec.errors import UserError


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `autoprec`: one line and exit code 2 for a mistake that the user can mend.

    `words` stand in for the command line's. Ends in SystemExit.
    """
    try:
        app(words)
    except UserError as error:
        # A message may quote what a module of the user's raised.
        typer.echo(f"autoprec: {' '.join(line.strip() for line in str(error).splitlines())}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except BrokenPipeError:
        sys.exit(0)


__all__ = ["app", "blocks", "doctor", "export", "front", "init", "main", "report", "search", "trial"]
