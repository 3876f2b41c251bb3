"""Commands of the morning after: front, show, sensitivity."""

from __future__ import annotations

from typing import Annotated

import typer

from autoprec.cli._app import JsonOption, StudyOption, app, show_or_dump
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
