"""Composite views: a diagnosis, the front, the end of a search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autoprec.legality.patterns import PATTERNS
from autoprec.legality.verdicts import Legality
from autoprec.precisions import PLAIN
from autoprec.report import (
    Column,
    Columns,
    Drawing,
    console,
    fidelity_lines,
    front_plot,
    front_table,
    next_steps,
    shares,
    shares_line,
    workers_table,
)
from autoprec.study import Study
from autoprec.study.diagnosis import Diagnosis
from autoprec.study.shipping.picks import picks
from autoprec.visible import visible

_FLOATS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
"""Kernel precision names (see `records.KernelTime`) of the float precisions."""


def front_view(chosen: Study) -> RenderableType:
    """The front with the anchors, and with marks on what `export` would pick."""
    front, reference, accepted = chosen.front(), chosen.reference(), chosen.spec.search.accepted_loss
    marks = picks(front, reference, accepted) if reference is not None else {}
    return front_table(front, reference, chosen.trials(), marks, accepted, chosen.clock())


def progress_view(chosen: Study) -> RenderableType:
    """The front, and below it who is measuring, or has measured."""
    shown = [front_view(chosen)]
    if line := shares_line(shares(chosen.trials())):
        shown.append(Text(line, "dim"))
    if workers := chosen.workers():
        shown.append(workers_table(workers, chosen.trials()))
    return Group(*shown)


def show_plot_and_front(chosen: Study) -> None:
    """What a search found."""
    plot = front_plot(chosen.trials(), chosen.reference(), width=console.width)
    console.print(plot, markup=False)
    console.print(front_view(chosen))


def end_lines(chosen: Study, named: str | None) -> Iterable[str]:
    """The commands to type after a search; `named` is the study's option."""
    front, reference, accepted = chosen.front(), chosen.reference(), chosen.spec.search.accepted_loss
    if reference is None or not front:
        return ()
    return next_steps(picks(front, reference, accepted), reference, accepted, named or "")


def diagnosis_view(diagnosis: Diagnosis) -> RenderableType:
    """The machine, and which precisions the engine supports for which operators."""
    parts = Table.grid(padding=(0, 2))
    parts.add_column(style="bold", no_wrap=True)
    parts.add_column(overflow="fold")
    for check in diagnosis.checks:
        parts.add_row(check.name, Text(check.found, "yellow" if check.remedy else ""))
        if check.remedy:
            parts.add_row("", Text(f"-> {check.remedy}", "dim"))
    if diagnosis.engine is not None:
        parts.add_row("engine", Text(f"{diagnosis.engine.version} on {diagnosis.engine.device}"))
    lines = [Text(line) for line in fidelity_lines(diagnosis.fidelity)]
    if diagnosis.legality is None:
        return Group(parts, *lines)
    return Group(parts, Text(), _table(diagnosis.legality), *_reasons(diagnosis.legality), Text(), *lines)


def _table(legality: Legality) -> Columns:
    """Patterns by precision: what each runs in."""
    return Columns(
        (
            Column("operator", list(PATTERNS), right=False),
            *(
                Column(name, [_cell(legality, pattern, name) for pattern in PATTERNS], right=False)
                for name in PLAIN
            ),
        )
    )


def _cell(legality: Legality, pattern: str, precision: str) -> Text:
    verdict = legality.find(pattern, precision)
    if verdict is None:
        return Text("?", "dim")
    if verdict.is_unfit:
        return Text("fails" if verdict.state == "refused" else "wrong", "red")
    if not verdict.is_legal:
        return Text(f"ran {verdict.ran}", "yellow")
    if verdict.precision != precision:
        return Text(verdict.precision, "dim")  # this precision leaves such an operator in its base type
    if precision in _FLOATS and verdict.ran and _FLOATS[precision] not in verdict.ran.split(","):
        return Text(f"as {verdict.ran}", "yellow")  # accepted, but run in another float type
    return Text("yes", "green")


def _reasons(legality: Legality) -> Sequence[Drawing]:
    """Each reason once, with all its pairs of pattern and precision."""
    pairs: dict[str, list[str]] = {}
    for verdict in legality.verdicts:
        if verdict.is_unfit:
            pairs.setdefault(verdict.reason, []).append(f"{verdict.pattern} {verdict.precision}")
    return [
        Drawing(Text(f"\n{', '.join(names)}:\n  {visible(reason)}", "dim")) for reason, names in pairs.items()
    ]
