"""The Pareto front, of one study or of two: front, compare."""

from __future__ import annotations

from typing import Annotated

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import (
    JsonOption,
    StorageOption,
    StudyOption,
    app,
    show_or_dump,
    study_of,
)


@app.command()
def front(study: StudyOption = None, storage: StorageOption = None, json: JsonOption = False) -> None:
    """Show the Pareto front of latency and mask loss.

    Example: autoprec front --json
    """
    chosen = study_of(study, storage, is_quiet=json)
    reference = chosen.reference()
    noisy = [parts.TrialAndNoise.of(trial, reference) for trial in chosen.front()]
    show_or_dump(noisy, parts.progress_view(chosen), json)


@app.command()
def compare(
    first: Annotated[
        str, typer.Argument(metavar="STUDY[@NIGHT]", help="A study, or its state after one night.")
    ],
    second: Annotated[str, typer.Argument(metavar="STUDY[@NIGHT]", help="What it is compared with.")],
    json: JsonOption = False,
) -> None:
    """Compare two studies, or two nights of one. Tells what moved from what is noise.

    Example: autoprec compare demo@1 demo@2
    """
    comparison = parts.compare_studies(first, second)
    show_or_dump(comparison, parts.comparison_view(comparison), json)
