"""One trial: show, explain, where."""

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
    tell,
)


@app.command()
def show(
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number.")],
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Show one trial with every figure. Block by block: what was requested, and what ran.

    Example: autoprec show 17
    """
    chosen = study_of(study, storage, is_quiet=json)
    record = chosen.trial(trial)
    reference = chosen.reference()
    view = parts.trial_view(record, chosen.stored_blocks(), reference, chosen.fidelity(), chosen.clock())
    show_or_dump(parts.TrialAndNoise.of(record, reference), view, json)


@app.command()
def explain(
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number.")],
    study: StudyOption = None,
    storage: StorageOption = None,
    run: Annotated[bool, typer.Option(help="Run the trial again, to profile its blocks.")] = True,
    json: JsonOption = False,
) -> None:
    """Explain what each block of a trial gained and cost. Gains are in time, costs in mask quality, and it
    says how sure each figure is.

    Example: autoprec explain 17
    """
    chosen = study_of(study, storage, is_quiet=json)
    explanation = chosen.explain(trial, runs=run, say=tell)
    reference = chosen.reference()
    # Without one there was nothing to explain.
    assert reference is not None
    show_or_dump(explanation, parts.explanation_view(explanation, reference), json)


@app.command()
def where(
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number.")],
    study: StudyOption = None,
    storage: StorageOption = None,
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="How many evaluation samples to run.")] = 3,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0.0,
            help="A block breaks if it is off by more than this share of its values' spread.",
        ),
    ] = 0.1,
    layers: Annotated[bool, typer.Option("--layers", help="One row per node instead of per block.")] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compute in exact arithmetic instead of on the engine.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Find the first block of a trial whose values break. Compares them with the reference's, block by
    block.

    Example: autoprec where 17
    """
    chosen = study_of(study, storage, is_quiet=json)
    comparison = chosen.where(trial, tolerance=tolerance, samples=samples, layers=layers, exactly=exact)
    show_or_dump(comparison, parts.layerwise_view(comparison), json)
