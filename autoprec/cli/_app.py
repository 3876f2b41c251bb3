"""What every command shares: the application, its terminal, the options that many take."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from rich.console import Console

from autoprec.report import as_json

EXIT_USER_ERROR = 2
EXIT_AUDIT_FAILED = 3
EXIT_DIFFERENT = 4

app = typer.Typer(
    name="autoprec",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finds, overnight, the precision of every block of an ONNX mask model: as fast as it can be, "
    "with masks that stay those of the FP16 engine.",
)
console = Console()


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoprec {version('autoprec')}")
        raise typer.Exit


@app.callback()
def start(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What comes before every command."""


StudyOption = Annotated[
    str | None,
    typer.Option("--study", "-s", metavar="NAME_OR_PATH", help="A study of studies/, or a TOML file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def progress(message: str) -> None:
    """Tell what takes time, beside the output."""
    typer.echo(message, err=True)


def show_or_dump(value: Any, view: Any, as_text: bool) -> None:
    """Print records as JSON, or what people read."""
    if as_text:
        typer.echo(as_json(value))
    else:
        console.print(view)
