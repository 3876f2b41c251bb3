"""What every command shares: the application, its terminal, the options that many take."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer

from autoprec.report import HarmlessConsole, as_json, visible

EXIT_USER_ERROR = 2
EXIT_AUDIT_FAILED = 3
EXIT_DIFFERENT = 4
EXIT_INTERNAL = 70
"""EX_SOFTWARE of sysexits(3)."""

app = typer.Typer(
    name="autoprec",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finds, overnight, the precision of every block of an ONNX mask model: as fast as it can be, "
    "with masks that stay those of the FP16 engine.",
)
console = HarmlessConsole()


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
TargetOption = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="Where engines run, as ssh://user@host.", show_default="here"),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="ADDRESS",
        envvar="AUTOPREC_STORAGE",
        help="The study's database, as postgresql+psycopg://user@host/name; others join there.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def tell(message: str) -> None:
    """One line beside the output: what takes time, what is wrong."""
    typer.echo(visible(" ".join(line.strip() for line in message.splitlines())), err=True)


def answer(message: object) -> None:
    """One line of output."""
    typer.echo(visible(str(message)))


def show_or_dump(value: Any, view: Any, as_text: bool) -> None:
    """Print records as JSON, or what people read."""
    if as_text:
        typer.echo(as_json(value))
    else:
        console.print(view)
