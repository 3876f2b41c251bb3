"""Commands before and during a night: init, blocks, search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoprec.cli._app import (
    EXIT_AUDIT_FAILED,
    EXIT_USER_ERROR,
    JsonOption,
    StudyOption,
    app,
    console,
    show_or_dump,
)
from autoprec.report import LiveProgress, blocks_table, front_plot, front_table
from autoprec.study import Study, write_definition


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
    show_or_dump(found, blocks_table(found), json)


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
def refine(
    trial: Annotated[int, typer.Argument(help="The trial's number.")],
    study: StudyOption = None,
    minutes: Annotated[float, typer.Option(help="How long to train.", min=0.01)] = 60.0,
) -> None:
    """Fine-tune one trial's weights and ranges without labels, and measure them as a new trial.

    The float model teaches the quantised one, on the calibration images. Needs PyTorch: autoprec[qat].

    Example: autoprec refine 17 --minutes 30
    """
    chosen = Study.find(study)
    with LiveProgress(console, chosen.spec.name) as progress:
        record = chosen.refine(trial, 60 * minutes, progress)
    before = chosen.trial(trial)
    if record.failure is not None:
        typer.echo(
            f"trial {record.number}: failed: {record.failure.kind}: {record.failure.message}", err=True
        )
        raise typer.Exit(EXIT_USER_ERROR)
    typer.echo(f"trial {record.number}: loss {record.loss:.4f}, before {before.loss:.4f} (trial {trial})")


def _shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """`image=1,3,512,512` to a name and a shape."""
    try:
        pairs = (text.split("=", 1) for text in texts)
        return {name: tuple(int(size) for size in sizes.split(",")) for name, sizes in pairs}
    except ValueError:
        raise typer.BadParameter("give a shape as NAME=1,3,512,512", param_hint="--shape") from None
