"""What a search would do, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.records import PlannedTrial, SearchPlan
from autoprec.report import _figures as figures
from autoprec.report.terminal._columns import Column, Columns
from autoprec.report.terminal.tables import blocks_table


def plan_view(plan: SearchPlan) -> RenderableType:
    """Blocks and choices, the size of the space, the cost as far as known, and the first trials."""
    asked = "" if plan.is_judged else "; the engine is probed when the search begins, and may accept fewer"
    free = sum(len(block.allowed) > 1 for block in plan.blocks)
    lines = [
        f"{plan.assignments:.3g} assignments ({free} blocks with a choice){asked}",
        f"{plan.strategy}, seed {plan.seed}, budget {plan.budget}, {plan.trials_known} trials so far",
        _time(plan),
        _memory(plan),
    ]
    first = Columns(
        (
            Column("next", [str(place) for place in range(1, len(plan.first) + 1)]),
            Column("origin", [one.origin for one in plan.first], right=False),
            Column("precisions", [_assigned(one) for one in plan.first], right=False),
        )
    )
    rest = "" if plan.trials_known else "what follows the anchors depends on their results"
    table = [first] if plan.first else []
    return Group(blocks_table(plan.blocks), Text(), *map(Text, lines), Text(), *table, Text(rest))


def _time(plan: SearchPlan) -> str:
    if plan.trial_seconds is None:
        whole = "" if plan.seconds is None else f"{figures.duration(plan.seconds)}, the budget; "
        return (
            f"time: {whole}of each trial, timing takes at most {plan.timing_seconds:g} s, and the rest is "
            "unknown until one is measured; preparation and the reference come first"
        )
    whole = "" if plan.seconds is None else f", about {figures.duration(plan.seconds)} for this budget"
    return f"time: {plan.trial_seconds:.1f} s a trial so far (median){whole}"


def _memory(plan: SearchPlan) -> str:
    weights = f"weights of {figures.megabytes(plan.weight_bytes)} MB"
    if plan.peak_memory_bytes is None:
        return (
            f"memory: {weights}, which the candidate and the reference each hold in their types; what else "
            "engines need is unknown until a trial is measured"
        )
    return f"memory: at most {figures.megabytes(plan.peak_memory_bytes)} MB an engine so far; {weights}"


def _assigned(one: PlannedTrial) -> Text:
    text = Text(figures.summary(one.assignment))
    return Text.assemble((figures.short(one.label), "bold"), " ", text) if one.label else text
