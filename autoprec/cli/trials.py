"""Listing and deleting: trials, studies, delete."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import (
    JsonOption,
    StorageOption,
    StudyOption,
    answer,
    app,
    show_or_dump,
    study_names,
    study_of,
)

if TYPE_CHECKING:
    from autoprec.records import TrialRecord

STATES = ("complete", "failed", "running")
ORIGINS = ("anchor", "search", "finalist", "queued", "refined", "reused")
SORTS = ("number", "latency", "loss")


def _states(incomplete: str) -> list[str]:
    return [name for name in STATES if name.startswith(incomplete)]


def _origins(incomplete: str) -> list[str]:
    return [name for name in ORIGINS if name.startswith(incomplete)]


def _sorts(incomplete: str) -> list[str]:
    return [name for name in SORTS if name.startswith(incomplete)]


StateOption = Annotated[
    str,
    typer.Option(
        metavar="STATE", help="complete, failed or running.", autocompletion=_states, show_default="all"
    ),
]
OriginOption = Annotated[
    str,
    typer.Option(
        metavar="ORIGIN",
        help="anchor, search, finalist, queued, refined or reused.",
        autocompletion=_origins,
        show_default="all",
    ),
]
MinSpeedupOption = Annotated[
    float | None,
    typer.Option(metavar="FACTOR", help="The smallest speed-up over the reference.", show_default="any"),
]
BlockOption = Annotated[
    list[str],
    typer.Option(
        metavar="BLOCK=PRECISION",
        help="Only trials with this choice, such as 'neck.*=int8*'; may be repeated.",
    ),
]
MaxLossOption = Annotated[
    float | None, typer.Option(metavar="LOSS", help="The largest mask loss.", show_default="any")
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write FILE.csv, FILE.parquet or FILE.json."),
]


@app.command()
def trials(
    study: StudyOption = None,
    storage: StorageOption = None,
    state: StateOption = "",
    origin: OriginOption = "",
    max_loss: MaxLossOption = None,
    min_speedup: MinSpeedupOption = None,
    block: BlockOption = [],  # noqa: B006 - typer copies it
    sort: Annotated[
        str, typer.Option(metavar="KEY", help="By number, latency or loss.", autocompletion=_sorts)
    ] = "number",
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="N", min=1, help="Show at most this many.", show_default="all"),
    ] = None,
    output: OutputOption = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: JsonOption = False,
) -> None:
    """List trials, filtered and sorted. Can write them to a file for other tools.

    Example: autoprec trials --state complete --max-loss 0.01 --sort latency
    """
    _check_one_of(state, STATES, "--state")
    _check_one_of(origin, ORIGINS, "--origin")
    chosen = study_of(study, storage, is_quiet=json or csv)
    every = chosen.trials()
    wanted = [trial for trial in every if _is_wanted(trial, state, origin, max_loss, min_speedup)]
    for pair in block:
        _check_block(pair, every)
        wanted = [trial for trial in wanted if _has(trial, pair)]
    records = _sorted(wanted, sort)[:limit]
    front = {trial.number for trial in chosen.front()}
    if output is not None:
        answer(parts.write_trials(output, records, front))
    elif csv:
        typer.echo(parts.trials_csv(records, front), nl=False)
    else:
        show_or_dump(records, parts.trials_table(records, front), json)


@app.command()
def studies(json: JsonOption = False) -> None:
    """List the studies and how far each is. Marks the default one, and those being searched.

    Example: autoprec studies
    """
    listing = parts.list_studies()
    show_or_dump(listing, parts.studies_table(listing), json)


@app.command()
def delete(
    study: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", autocompletion=study_names)],
    storage: StorageOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete what a study has measured. Its trials, calibration and pictures go; this cannot be undone.

    The definition, the model, the samples, exports and reports stay: the study can be searched anew.

    Example: autoprec delete demo
    """
    chosen = parts.Study.find(study, storage)
    count = len(chosen.trials())
    # Counted before: the question says what goes.
    if not (yes or _is_agreed(f"delete the {count} trials of study {chosen.spec.name}?")):
        raise typer.Abort
    size = parts.clear(chosen.spec)
    answer(f"deleted {count} trials of {chosen.spec.name}, {size / 1e6:.1f} MB")


def _is_agreed(question: str) -> bool:
    """The answer to a question. Raises `typer.Abort` at Ctrl-C, and where nobody can answer."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo(err=True)  # the cursor is behind the question
        raise


def _is_wanted(
    trial: TrialRecord, state: str, origin: str, max_loss: float | None, min_speedup: float | None
) -> bool:
    if (state and trial.state != state) or (origin and trial.origin != origin):
        return False
    if max_loss is not None and not trial.loss <= max_loss:  # false for NaN, without a measurement
        return False
    measurement = trial.measurement
    # The ratio is one of latencies: a speed-up of 2 is a ratio of 0.5.
    return min_speedup is None or (measurement is not None and measurement.latency.ratio * min_speedup <= 1)


def _check_one_of(word: str, choices: tuple[str, ...], option: str) -> None:
    if word and word not in choices:
        raise typer.BadParameter(f"takes one of: {', '.join(choices)}", param_hint=option)


def _check_block(pair: str, trials: Sequence[TrialRecord]) -> None:
    """Raise `BadParameter` for a malformed pair, or one that matches no block."""
    name, separator, _ = pair.partition("=")
    if not separator:
        raise typer.BadParameter("give it as BLOCK=PRECISION", param_hint="--block")
    blocks = {block for trial in trials for block, _ in trial.assignment.choices}
    # Without trials no name can be checked, and an empty list is the right answer.
    if blocks and not fnmatch.filter(blocks, name):
        raise typer.BadParameter(f"no block is called {name!r}; see `autoprec blocks`", param_hint="--block")


def _has(trial: TrialRecord, pair: str) -> bool:
    """Whether some block of a matching name has a matching precision."""
    name, _, precision = pair.partition("=")
    # Names of blocks may differ in their case alone.
    fits = fnmatch.fnmatchcase
    return any(fits(block, name) and fits(chosen, precision) for block, chosen in trial.assignment.choices)


def _sorted(records: list[TrialRecord], by: str) -> list[TrialRecord]:
    """The records in the given order; unmeasured ones come last."""
    _check_one_of(by, SORTS, "--sort")
    if by == "number":
        return records
    # Ties stand in the order in which they were tried.
    return sorted(
        records, key=lambda t: (t.measurement is None, t.latency_ms if by == "latency" else t.loss, t.number)
    )
