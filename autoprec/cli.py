"""The command line: parse, call one public function, print. Exit code 2 for a user's mistake."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from autoprec.errors import UserError
from autoprec.exporters import EXPORTERS
from autoprec.report import (
    LiveProgress,
    as_json,
    blocks_table,
    front_plot,
    front_table,
    sensitivity_table,
    trial_view,
)
from autoprec.study import Study, write_definition

EXIT_USER_ERROR = 2
EXIT_AUDIT_FAILED = 3

app = typer.Typer(
    name="autoprec",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finds, overnight, the precision of every block of an ONNX mask model: as fast as it can be, "
    "with masks that stay those of the FP16 engine.",
)
console = Console()

StudyOption = Annotated[
    str | None,
    typer.Option("--study", "-s", metavar="NAME_OR_PATH", help="A study of studies/, or a TOML file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _show(value: Any, view: Any, as_text: bool) -> None:
    """Print records as JSON, or what people read."""
    if as_text:
        typer.echo(as_json(value))
    else:
        console.print(view)


def _shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """`image=1,3,512,512` to a name and a shape."""
    try:
        pairs = (text.split("=", 1) for text in texts)
        return {name: tuple(int(size) for size in sizes.split(",")) for name, sizes in pairs}
    except ValueError:
        raise typer.BadParameter("give a shape as NAME=1,3,512,512", param_hint="--shape") from None


@app.command()
def init(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model to search.")],
    decoder: Annotated[
        Path | None, typer.Option(help="A fixed ONNX model behind it, as SAM's decoder.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="Folder of images to calibrate on.")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="Folder of images to score masks on.")] = None,
    shape: Annotated[
        list[str], typer.Option(metavar="NAME=1,3,512,512", help="Sizes of a dynamic input; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Write a study definition for a model.

    Example: autoprec init encoder.onnx --decoder decoder.onnx --calibration images/a --evaluation images/b
    """
    path = write_definition(
        model, decoder=decoder, calibration=calibration, evaluation=evaluation, shapes=_shapes(shape)
    )
    typer.echo(f"wrote {path}; look through it, then: autoprec search --study {path.stem}")


@app.command()
def blocks(study: StudyOption = None, json: JsonOption = False) -> None:
    """List the model's blocks: ops, parameters, MACs, allowed precisions and why others are not.

    Example: autoprec blocks --study demo
    """
    found = Study.find(study).blocks()
    _show(found, blocks_table(found), json)


@app.command()
def search(
    budget: Annotated[
        str | None,
        typer.Option(help="Trials (50) or time (90s, 30m, 8h) of this run.", show_default="the study's"),
    ] = None,
    study: StudyOption = None,
    strict: Annotated[bool, typer.Option(help="Exit with 3 if a front point did not run as asked.")] = False,
) -> None:
    """Search on: measure assignments until the budget is spent. Run it again to go on from there.

    Ctrl-C finishes the trial in hand; a second one stops at once. Nothing that was measured is lost.

    Example: autoprec search --budget 50
    """
    chosen = Study.find(study)
    with LiveProgress(console, chosen.spec.name) as progress:
        chosen.search(budget, progress)
    console.print(front_plot(chosen.trials(), chosen.reference(), width=console.width), markup=False)
    console.print(front_table(chosen.front(), chosen.reference()))
    if strict and (wrong := chosen.mismatches()):
        typer.echo(f"did not run as asked: {', '.join(wrong)}", err=True)
        raise typer.Exit(EXIT_AUDIT_FAILED)


@app.command()
def front(study: StudyOption = None, json: JsonOption = False) -> None:
    """Show the Pareto front of latency and mask loss.

    Example: autoprec front --json
    """
    chosen = Study.find(study)
    _show(chosen.front(), front_table(chosen.front(), chosen.reference()), json)


@app.command()
def show(
    trial: Annotated[int, typer.Argument(help="The trial's number.")],
    study: StudyOption = None,
    json: JsonOption = False,
) -> None:
    """Show one trial: every figure, and block by block what was asked and what ran.

    Example: autoprec show 17
    """
    chosen = Study.find(study)
    record = chosen.trial(trial)
    _show(record, trial_view(record, chosen.stored_blocks()), json)


@app.command()
def sensitivity(study: StudyOption = None, json: JsonOption = False) -> None:
    """Show each block's mask loss alone in a quantised precision: the search's prior, not the truth.

    Example: autoprec sensitivity --json
    """
    chosen = Study.find(study)
    table = chosen.sensitivity()
    _show(table, sensitivity_table(chosen.stored_blocks(), table), json)


@app.command()
def export(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to; by default under the study's exports/.")
    ] = None,
    study: StudyOption = None,
    pick: Annotated[str, typer.Option(help="knee, or fastest (within --max-loss).")] = "knee",
    max_loss: Annotated[float | None, typer.Option(help="The largest mask loss to accept.")] = None,
    trial: Annotated[int | None, typer.Option(help="Export this trial instead of picking one.")] = None,
    to: Annotated[
        list[str], typer.Option(help=f"Targets: {', '.join(EXPORTERS)}; may be repeated.", show_default="all")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Write the typed ONNX, assignment, manifest and build scripts of one point of the front.

    Example: autoprec export --pick fastest --max-loss 0.01
    """
    files = Study.find(study).export(folder, pick=pick, max_loss=max_loss, trial=trial, targets=to or None)
    typer.echo("\n".join(str(path) for path in files))


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `autoprec`: one line and exit code 2 for a mistake that the user can mend.

    `words` stand in for the command line's. Ends in SystemExit.
    """
    try:
        app(words)
    except UserError as error:
        typer.echo(f"autoprec: {error}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
