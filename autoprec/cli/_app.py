"""What all commands share: the application, output, and common options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import autoprec
from autoprec.cli import _parts as parts
from autoprec.visible import visible

if TYPE_CHECKING:
    from autoprec.study import Study

EXIT_USER_ERROR = 2
EXIT_AUDIT_FAILED = 3
EXIT_DIFFERENT = 4
EXIT_INTERNAL = 70
"""EX_SOFTWARE of sysexits(3)."""
EXIT_STOPPED = 130
"""128 + SIGINT, as shells report a process that Ctrl-C ended."""
EXIT_READER_GONE = 141
"""128 + SIGPIPE: nobody reads the output any longer."""

app = typer.Typer(
    name="autoprec",
    invoke_without_command=True,
    # `exit_code` reports all errors in one line; Typer would print tracebacks.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search for the precision of each block of an ONNX mask model: as fast as possible, "
    "with masks that stay those of the FP16 engine.",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoprec {autoprec.__version__}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    show_version: Annotated[  # noqa: ARG001 - its callback takes it
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of `autoprec` itself; without a command it shows its help."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(EXIT_USER_ERROR)


def study_names(incomplete: str) -> list[str]:
    """Names of the studies here that start with `incomplete`, for TAB."""
    # File names alone: reading definitions would delay every press of TAB.
    return [path.stem for path in sorted(Path("studies").glob("*.toml")) if path.stem.startswith(incomplete)]


StudyOption = Annotated[
    str | None,
    typer.Option(
        "--study",
        "-s",
        metavar="NAME_OR_PATH",
        help="A study of studies/, or a TOML file.",
        show_default="the default study",
        autocompletion=study_names,
    ),
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
    """Print one line to standard error: progress, warnings, mistakes."""
    # One line always, without control characters: names and messages may come from a model or an engine.
    typer.echo(visible(" ".join(line.strip() for line in message.splitlines())), err=True)


def answer(message: object) -> None:
    """Print one line of output."""
    typer.echo(visible(str(message)))


def study_of(where: str | None, storage: str | None = None, *, is_quiet: bool = False) -> Study:
    """The study that a command works on; reports which one it is if none is named, unless `is_quiet`."""
    if where is None:
        path, why = parts.default_definition()
        where = str(path)
        if not is_quiet:
            tell(f"study {path.stem} ({path}, {why})")
    return parts.Study.find(where, storage)


def show_or_dump(value: Any, view: Any, as_text: bool) -> None:
    """Print records as JSON, or a view for people (a renderable of Rich)."""
    if as_text:
        typer.echo(parts.as_json(value))
    else:
        parts.console.print(view)
