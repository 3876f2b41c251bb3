"""Tables of blocks and of the Pareto front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.records import Block, Reference, TrialRecord
from autoprec.report import _figures as figures
from autoprec.report._columns import Column, Columns

TIE = "≈"


def blocks_table(blocks: Sequence[Block]) -> RenderableType:
    """Every block with its operators and size; below, the precisions that are refused and why."""
    refused: dict[tuple[str, str], list[str]] = defaultdict(list)
    for block in blocks:
        for refusal in block.refused:
            refused[refusal].append(block.name)
    columns = (
        Column("block", [Text(block.name, "bold") for block in blocks], right=False),
        Column("ops", [_operators(block) for block in blocks], 1, right=False, widest=40),
        Column("nodes", [str(len(block.nodes)) for block in blocks], 3),
        Column("weights", [figures.count(block.parameters) for block in blocks], 2),
        Column("MACs", [figures.count(block.macs) for block in blocks]),
        Column(
            "allowed",
            [" ".join(map(figures.short, block.allowed)) or figures.NOTHING for block in blocks],
            right=False,
        ),
    )
    total = (
        f"{len(blocks)} blocks, {figures.count(sum(b.parameters for b in blocks))} weights, "
        f"{figures.count(sum(b.macs for b in blocks))} MACs"
    )
    reasons = [
        Text.assemble(
            ("not ", "dim"), (precision, "yellow"), f": {reason} ", (f"({', '.join(names)})", "dim")
        )
        for (precision, reason), names in refused.items()
    ]
    known = (name for block in blocks for name in block.allowed)
    return Group(Columns(columns), Text(total), *map(Text, figures.legend(known)), *reasons)


def sensitivity_table(blocks: Sequence[Block], table: Mapping[str, Mapping[str, float]]) -> RenderableType:
    """Mask loss of each block alone in each precision that was tried, in graph order."""
    if not table:
        return Text("no sensitivity is measured yet: `autoprec search` does it after the anchors")
    names = sorted({name for row in table.values() for name in row})
    losses = [
        Column(f"loss, {name} alone", [_loss(table.get(block.name, {}).get(name)) for block in blocks])
        for name in names
    ]
    return Columns(
        (
            Column("block", [Text(block.name, "bold") for block in blocks], right=False),
            Column("MACs", [figures.count(block.macs) for block in blocks]),
            *losses,
        )
    )


def _loss(loss: float | None) -> str:
    return figures.NOTHING if loss is None else figures.loss(loss)


def front_table(trials: Sequence[TrialRecord], reference: Reference | None) -> RenderableType:
    """The front's trials, fastest first, as `Store.front` gives them; marks say what is only noise."""
    if not trials:
        return Text("no trial is on the front yet: `autoprec search` measures some")
    measured = [(trial, trial.measurement) for trial in trials if trial.measurement is not None]
    quality = [found.quality for _, found in measured]
    tied = figures.ties([trial for trial, _ in measured], reference)
    slower = [figures.is_slower(trial, reference) for trial, _ in measured]
    columns = (
        Column("trial", [str(trial.number) for trial, _ in measured]),
        Column(
            "latency ms",
            [
                _marked(same, figures.milliseconds(t.latency_ms))
                for (t, _), (same, _) in zip(measured, tied, strict=True)
            ],
        ),
        Column("speed-up", [f"{figures.speedup(found.latency):.2f}x" for _, found in measured]),
        Column("interval", [_speedup_between(trial) for trial, _ in measured], 3),
        Column(
            "loss",
            [_marked(same, figures.loss(t.loss)) for (t, _), (_, same) in zip(measured, tied, strict=True)],
        ),
        Column(
            "interval",
            [figures.loss_between(q) for q in quality],
            4,
        ),
        Column("mIoU", [figures.share(q.miou) for q in quality], 2),
        Column("border", [figures.share(q.boundary_iou) for q in quality], 6),
        Column("worst 5%", [figures.loss(q.worst_loss) for q in quality], 5),
        Column("MB", [figures.megabytes(found.engine_bytes) for _, found in measured], 7),
        Column("precisions", [figures.named(trial) for trial, _ in measured], right=False),
    )
    table = Columns(columns, ["dim" if slow else "" for slow in slower])
    used = (name for trial, _ in measured for _, name in trial.assignment.choices)
    return Group(
        table,
        *_notes(reference, any(map(any, tied)), any(slower)),
        *_carried(trials),
        *map(Text, figures.legend(used)),
    )


def _notes(reference: Reference | None, has_ties: bool, has_slower: bool) -> list[Text]:
    """What the figures are compared with, and what the marks mean."""
    if reference is None:
        return []
    noise = (
        f"reference {reference.precision}: {figures.milliseconds(reference.latency_ms)} ms; "
        f"noise: latency {100 * reference.latency_noise:.1f} %, loss {figures.loss(reference.loss_noise)} "
        f"between two builds, {figures.loss(reference.float_loss)} between FP32 and the reference"
    )
    notes = [noise]
    if has_ties:
        notes.append(f"{TIE} within that noise of the row above: a tie")
    if has_slower:
        notes.append("dim: slower than the reference")
    return [Text(note) for note in notes]


def _carried(trials: Sequence[TrialRecord]) -> list[Text]:
    """Warnings of losses that few samples carry."""
    words = ((t.number, figures.carried(t.measurement.quality)) for t in trials if t.measurement is not None)
    return [Text(f"trial {number}: {told}", "yellow") for number, told in words if told]


def _marked(is_tie: bool, figure: str) -> str:
    return f"{TIE} {figure}" if is_tie else figure


def _speedup_between(trial: TrialRecord) -> str:
    assert trial.measurement is not None
    interval = figures.speedup_interval(trial.measurement.latency)
    return figures.between(f"{interval.low:.2f}", f"{interval.high:.2f}")


def _operators(block: Block) -> str:
    return ", ".join(f"{kind} {number}" if number > 1 else kind for kind, number in block.op_counts)
