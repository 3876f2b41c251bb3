"""The options of `search`."""

from __future__ import annotations

from typing import Annotated

import typer

STRATEGIES = ("autoprec", "tpe", "nsga2", "random")


def _strategies(incomplete: str) -> list[str]:
    return [name for name in STRATEGIES if name.startswith(incomplete)]


BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="50|8h", help="Trials (50) or time (90s, 30m, 8h) of this run.", show_default="the study's"
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        help="Candidates to build in parallel on each device; engines are timed one at a time.",
        show_default="by cores and memory",
    ),
]
DevicesOption = Annotated[
    str | None,
    typer.Option(
        "--devices",
        "--device",
        metavar="0,1|all",
        help="GPUs to measure on, all of one kind.",
        show_default="one",
    ),
]
RayOption = Annotated[
    str,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Search on all nodes of this Ray cluster; needs --storage. `local` starts one here.",
        show_default="no cluster",
    ),
]
PriorOption = Annotated[
    str | None,
    typer.Option(
        metavar="STUDY",
        help="Learn from another study of this model first, by name or path.",
        show_default="none",
    ),
]
SeedOption = Annotated[
    int | None, typer.Option(metavar="N", help="Seed of the strategy.", show_default="the study's")
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="autoprec, tpe, nsga2 or random.",
        show_default="the study's",
        autocompletion=_strategies,
    ),
]
PrecisionsOption = Annotated[
    str | None,
    typer.Option(metavar="fp16,int8,...", help="Precisions to choose from.", show_default="the study's"),
]
AcceptedLossOption = Annotated[
    float | None,
    typer.Option(metavar="LOSS", help="Mask loss that you accept for speed.", show_default="the study's"),
]
PatienceOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Stop after this many trials in a row without a better front.",
        show_default="never",
    ),
]
TargetSpeedupOption = Annotated[
    float | None,
    typer.Option(
        metavar="FACTOR",
        min=0,
        help="Stop once this is reached within the accepted loss, for example 1.8.",
        show_default="never",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be searched, and what comes first; run nothing.")
]
StrictOption = Annotated[
    bool, typer.Option(help="Exit with 3 if a point of the front did not run in the precisions requested.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show the log instead of a live view.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show only the result.")]
JsonLinesOption = Annotated[
    bool, typer.Option("--json-lines", help="Print each event as a line of JSON, the front last.")
]
NotifyOption = Annotated[
    str,
    typer.Option(
        metavar="COMMAND",
        help="Command to run at the end, with AUTOPREC_STUDY, _END, _TRIALS and _SPEEDUP in its environment.",
        show_default="nothing",
    ),
]
