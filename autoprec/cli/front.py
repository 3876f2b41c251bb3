"""The Pareto front, of one study or of two: front, compare."""

from __future__ import annotations

from typing import Annotated

import typer

from autoprec.cli._app import (
    JsonOption,
    StudyOption,
    app,
    show_or_dump,
)
from autoprec.report import (
    comparison_view,
    front_table,
)
from autoprec.study import Study, compare_studies


@app.command()
def front(study: StudyOption = None, json: JsonOption = False) -> None:
    """Show the Pareto front of latency and mask loss.

    Example: autoprec front --json
    """
    chosen = Study.find(study)
    show_or_dump(chosen.front(), front_table(chosen.front(), chosen.reference()), json)


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
