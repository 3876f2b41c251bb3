"""The Pareto front, of one study or of two: front, compare."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.cli._app import (
    JsonOption,
    StorageOption,
    StudyOption,
    app,
    show_or_dump,
)
from autoprec.records import TrialAndNoise
from autoprec.report import (
    comparison_view,
    front_table,
    shares,
    shares_line,
    workers_table,
)
from autoprec.study import Study, compare_studies


@app.command()
def front(study: StudyOption = None, storage: StorageOption = None, json: JsonOption = False) -> None:
    """Show the Pareto front of latency and mask loss.

    Example: autoprec front --json
    """
    chosen = Study.find(study, storage)
    trials, reference = chosen.front(), chosen.reference()
    parts: list[RenderableType] = [front_table(trials, reference)]
    if line := shares_line(shares(chosen.trials())):
        parts.append(Text(line, "dim"))
    if workers := chosen.workers():
        parts.append(workers_table(workers, chosen.trials()))
    show_or_dump([TrialAndNoise.of(trial, reference) for trial in trials], Group(*parts), json)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="STUDY[@NIGHT]", help="A study, or one after a night.")],
    second: Annotated[str, typer.Argument(metavar="STUDY[@NIGHT]", help="What it is compared with.")],
    json: JsonOption = False,
) -> None:
    """Compare two studies, or two nights of one: what moved, and what is noise.

    Example: autoprec compare demo@1 demo@2
    """
    found = compare_studies(first, second)
    show_or_dump(found, comparison_view(found), json)
