"""Commands that tell what a night found out: report, explain, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoprec.cli._app import JsonOption, StudyOption, app, progress, show_or_dump
from autoprec.report import comparison_view, explanation_view, front_png, page, write_file
from autoprec.study import Study, compare_studies


@app.command()
def report(
    file: Annotated[
        Path | None, typer.Argument(help="Where to; by default report.html in the study's folder.")
    ] = None,
    study: StudyOption = None,
    pictures: Annotated[
        bool, typer.Option(help="Run the best points again, to draw their masks and profile their blocks.")
    ] = True,
    png: Annotated[bool, typer.Option("--png", help="Write the front alone, as a picture.")] = False,
) -> None:
    """Write the whole night as one HTML file: front, pictures, reasons, audit. Needs no network to read.

    Example: autoprec report --no-pictures
    """
    chosen = Study.find(study)
    findings = chosen.findings(runs=pictures and not png, say=progress)
    target = file or chosen.folder / ("front.png" if png else "report.html")
    typer.echo(str(write_file(target, front_png(findings) if png else page(findings))))


@app.command()
def explain(
    trial: Annotated[int, typer.Argument(help="The trial's number.")],
    study: StudyOption = None,
    run: Annotated[bool, typer.Option(help="Run the trial again, to profile its blocks.")] = True,
    json: JsonOption = False,
) -> None:
    """Explain one trial block by block: what it gained in time, what it cost in masks, how sure that is.

    Example: autoprec explain 17
    """
    chosen = Study.find(study)
    found = chosen.explain(trial, runs=run, say=progress)
    reference = chosen.reference()
    assert reference is not None
    show_or_dump(found, explanation_view(found, reference), json)


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
