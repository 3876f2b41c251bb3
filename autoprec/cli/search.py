"""Running a search: search, refine, watch."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import (
    EXIT_AUDIT_FAILED,
    EXIT_STOPPED,
    EXIT_USER_ERROR,
    JsonOption,
    StorageOption,
    StudyOption,
    TargetOption,
    answer,
    app,
    show_or_dump,
    study_of,
    tell,
)
from autoprec.cli._search.options import (
    AcceptedLossOption,
    BudgetOption,
    DevicesOption,
    DryRunOption,
    JobsOption,
    JsonLinesOption,
    NotifyOption,
    PatienceOption,
    PrecisionsOption,
    PriorOption,
    QuietOption,
    RayOption,
    SeedOption,
    StrategyOption,
    StrictOption,
    TargetSpeedupOption,
    VerboseOption,
)
from autoprec.cli._search.watching import View, notifying, watching
from autoprec.errors import UserError

if TYPE_CHECKING:
    from autoprec.records import TrialRecord
    from autoprec.study import Study


@app.command()
def search(
    budget: BudgetOption = None,
    study: StudyOption = None,
    storage: StorageOption = None,
    jobs: JobsOption = None,
    devices: DevicesOption = None,
    ray: RayOption = "",
    prior: PriorOption = None,
    seed: SeedOption = None,
    strategy: StrategyOption = None,
    precisions: PrecisionsOption = None,
    accepted_loss: AcceptedLossOption = None,
    patience: PatienceOption = None,
    target_speedup: TargetSpeedupOption = None,
    dry_run: DryRunOption = False,
    strict: StrictOption = False,
    target: TargetOption = "",
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    json_lines: JsonLinesOption = False,
    notify: NotifyOption = "",
) -> None:
    """Search, or resume a search, until the budget is spent. Builds, times and scores assignments.

    Run the same command again to resume. With --storage, any number of hosts search one study together: start
    the same command on each. Ctrl-C lets the running trials finish; a second one stops immediately. Nothing
    that was measured is lost.

    Example: autoprec search --budget 50
    """
    view = _view(verbose=verbose, quiet=quiet, json=json, json_lines=json_lines)
    # Quiet and JSON views promise to print nothing else.
    chosen = study_of(study, storage, is_quiet=view not in ("live", "verbose"))
    if target:
        chosen = chosen.on(target)
    chosen = chosen.with_search(
        seed=seed, strategy=strategy, precisions=precisions, accepted_loss=accepted_loss
    )
    if dry_run:
        planned = parts.plan(chosen.spec, budget)
        show_or_dump(planned, parts.plan_view(planned), json)
        return
    how = Spending(budget, jobs, devices, None if prior is None else parts.Study.find(prior))
    with notifying(notify, chosen):
        if ray:
            parts.search_on_ray(chosen.spec, budget or chosen.spec.search.budget, ray, jobs, tell)
        else:
            _run(chosen, how, view, _rules(patience, target_speedup), study)
    _show(chosen, view, study)
    if strict and (wrong := chosen.mismatches()):
        tell(f"did not run as requested: {', '.join(wrong)}")
        raise typer.Exit(EXIT_AUDIT_FAILED)


class Spending(NamedTuple):
    """The budget of a search, and what it runs on."""

    budget: str | None
    jobs: int | None
    devices: str | None
    prior: Study | None


def _view(*, verbose: bool, quiet: bool, json: bool, json_lines: bool) -> View:
    wanted: dict[View, bool] = {"verbose": verbose, "quiet": quiet, "json": json, "json-lines": json_lines}
    chosen = [view for view, is_wanted in wanted.items() if is_wanted]
    if len(chosen) > 1:
        raise typer.BadParameter("choose one of these", param_hint=", ".join(f"--{view}" for view in chosen))
    return chosen[0] if chosen else "live"


def _rules(patience: int | None, target_speedup: float | None) -> list[Callable[[Study, TrialRecord], None]]:
    rules: list[Callable[[Study, TrialRecord], None]] = []
    if patience is not None:
        rules.append(parts.Patience(patience))
    if target_speedup is not None:
        rules.append(parts.TargetSpeedup(target_speedup))
    return rules


def _run(
    chosen: Study,
    how: Spending,
    view: View,
    rules: Sequence[Callable[[Study, TrialRecord], None]],
    study: str | None,
) -> None:
    """Search; a second Ctrl-C ends the command."""
    budget, jobs, devices, prior = how
    try:
        with watching(chosen, view) as watcher:
            chosen.search(budget, watcher, jobs=jobs, devices=devices, prior=prior, callbacks=rules)
    except KeyboardInterrupt:
        _tell_kept(chosen, study, budget)
        raise typer.Exit(EXIT_STOPPED) from None


def _show(chosen: Study, view: View, study: str | None) -> None:
    """The end of a search: plot, front and what to do next, or the front as JSON."""
    if view in ("json", "json-lines"):
        reference = chosen.reference()
        front = [parts.TrialAndNoise.of(trial, reference) for trial in chosen.front()]
        lines = view == "json-lines"
        typer.echo(parts.to_json({"event": "front", "front": front}) if lines else parts.as_json(front))
    else:
        _show_end(chosen, study)


def _show_end(chosen: Study, study: str | None) -> None:
    """What a search found, and the commands to type next."""
    parts.show_plot_and_front(chosen)
    for line in parts.end_lines(chosen, study):
        answer(line)


def _tell_kept(chosen: Study, study: str | None, budget: str | None) -> None:
    """Report what is kept of a search that was stopped at once, and how to resume it."""
    again = shlex.join(
        [
            "autoprec",
            "search",
            *(["--study", study] if study else []),
            *(["--budget", budget] if budget else []),
        ]
    )
    try:
        kept = f"{sum(trial.measurement is not None for trial in chosen.trials())} measured trials are kept"
    except UserError:  # the search had not reached its first trial, or its database is out of reach
        kept = "what was measured is kept"
    tell(f"stopped at once: {kept}; `{again}` resumes the run")


@app.command()
def refine(
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number.")],
    study: StudyOption = None,
    storage: StorageOption = None,
    minutes: Annotated[float, typer.Option(metavar="MINUTES", help="How long to train.", min=0.01)] = 60.0,
) -> None:
    """Fine-tune one trial without labels. Measures its new weights and ranges as a new trial.

    The float model teaches the quantised one, on the calibration images. Needs PyTorch: pip install '.[qat]'.

    Example: autoprec refine 17 --minutes 30
    """
    chosen = study_of(study, storage)
    with parts.LiveProgress(parts.console, chosen.spec.name) as progress:
        record = chosen.refine(trial, 60 * minutes, progress)
    before = chosen.trial(trial)
    if record.failure is not None:
        tell(f"trial {record.number}: failed: {record.failure.kind}: {record.failure.message}")
        raise typer.Exit(EXIT_USER_ERROR)
    answer(f"trial {record.number}: loss {record.loss:.4f}, before {before.loss:.4f} (trial {trial})")


@app.command()
def watch(study: StudyOption = None, storage: StorageOption = None) -> None:
    """Show a search that runs in another terminal. Ctrl-C leaves the search running.

    Example: autoprec watch --study demo
    """
    chosen = study_of(study, storage)
    try:
        with parts.LiveProgress(parts.console, chosen.spec.name) as progress:
            chosen.follow(progress)
    except KeyboardInterrupt:
        raise typer.Exit from None
    _show_end(chosen, study)
