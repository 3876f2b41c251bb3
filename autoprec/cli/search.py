"""Running a search: search, refine, watch."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import (
    EXIT_AUDIT_FAILED,
    EXIT_STOPPED,
    EXIT_USER_ERROR,
    StorageOption,
    StudyOption,
    TargetOption,
    answer,
    app,
    console,
    show_end,
    study_of,
    tell,
)
from autoprec.errors import UserError

if TYPE_CHECKING:
    from autoprec.study import Study


@app.command()
def search(
    budget: Annotated[
        str | None,
        typer.Option(help="Trials (50) or time (90s, 30m, 8h) of this run.", show_default="the study's"),
    ] = None,
    study: StudyOption = None,
    storage: StorageOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Candidates built at a time for each device; one engine is timed on it at a time.",
            show_default="by cores and memory",
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(metavar="0,1|all", help="GPUs to measure on; they must be alike.", show_default="one"),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="Learn from another study of this model first, by name or path.", show_default="none"
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option(help="Exit with 3 if a front point did not run as requested.")
    ] = False,
    target: TargetOption = "",
) -> None:
    """Search until the budget is spent: build, time and score assignments. Run it again to resume.

    With --storage any number of hosts search one study together: start the same command on each. Ctrl-C
    lets the running trials finish; a second one stops immediately. Nothing that was measured is lost.

    Example: autoprec search --budget 50
    """
    chosen = study_of(study, storage)
    if target:
        chosen = chosen.on(target)
    learnt = None if prior is None else parts.Study.find(prior)
    try:
        with parts.LiveProgress(console, chosen.spec.name) as progress:
            chosen.search(budget, progress, jobs=jobs, devices=devices, prior=learnt)
    except KeyboardInterrupt:
        _tell_kept(chosen, study, budget)
        raise typer.Exit(EXIT_STOPPED) from None
    show_end(chosen, study)
    if strict and (wrong := chosen.mismatches()):
        tell(f"did not run as asked: {', '.join(wrong)}")
        raise typer.Exit(EXIT_AUDIT_FAILED)


def _tell_kept(chosen: Study, study: str | None, budget: str | None) -> None:
    """What a search that was stopped at once leaves, and how to resume it."""
    again = shlex.join(
        [
            "autoprec",
            "search",
            *(["--study", study] if study else []),
            *(["--budget", budget] if budget else []),
        ]
    )
    try:
        kept = sum(trial.measurement is not None for trial in chosen.trials())
    except UserError:  # it had not come to its first trial
        kept = 0
    tell(f"stopped at once: {kept} measured trials are kept; `{again}` resumes the run")


@app.command()
def refine(
    trial: Annotated[int, typer.Argument(help="The trial's number.")],
    study: StudyOption = None,
    storage: StorageOption = None,
    minutes: Annotated[float, typer.Option(help="How long to train.", min=0.01)] = 60.0,
) -> None:
    """Fine-tune one trial's weights and ranges without labels, and measure them as a new trial.

    The float model teaches the quantised one, on the calibration images. Needs PyTorch: pip install '.[qat]'.

    Example: autoprec refine 17 --minutes 30
    """
    chosen = study_of(study, storage)
    with parts.LiveProgress(console, chosen.spec.name) as progress:
        record = chosen.refine(trial, 60 * minutes, progress)
    before = chosen.trial(trial)
    if record.failure is not None:
        tell(f"trial {record.number}: failed: {record.failure.kind}: {record.failure.message}")
        raise typer.Exit(EXIT_USER_ERROR)
    answer(f"trial {record.number}: loss {record.loss:.4f}, before {before.loss:.4f} (trial {trial})")


@app.command()
def watch(study: StudyOption = None, storage: StorageOption = None) -> None:
    """Show a search that runs in another terminal, live, until it ends. Ctrl-C does not stop it.

    Example: autoprec watch --study demo
    """
    chosen = study_of(study, storage)
    try:
        with parts.LiveProgress(console, chosen.spec.name) as progress:
            chosen.follow(progress)
    except KeyboardInterrupt:
        raise typer.Exit from None
    show_end(chosen, study)
