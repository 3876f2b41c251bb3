"""Commands of the morning after: front, show, sensitivity, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoprec.cli._app import JsonOption, StudyOption, app, show_or_dump
from autoprec.exporters import EXPORTERS
from autoprec.report import front_table, sensitivity_table, trial_view
from autoprec.study import Study


@app.command()
def front(study: StudyOption = None, json: JsonOption = False) -> None:
    """Show the Pareto front of latency and mask loss.

    Example: autoprec front --json
    """
    chosen = Study.find(study)
    show_or_dump(chosen.front(), front_table(chosen.front(), chosen.reference()), json)


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
    show_or_dump(record, trial_view(record, chosen.stored_blocks()), json)


@app.command()
def sensitivity(study: StudyOption = None, json: JsonOption = False) -> None:
    """Show each block's mask loss alone in a quantised precision: the search's prior, not the truth.

    Example: autoprec sensitivity --json
    """
    chosen = Study.find(study)
    table = chosen.sensitivity()
    show_or_dump(table, sensitivity_table(chosen.stored_blocks(), table), json)


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
