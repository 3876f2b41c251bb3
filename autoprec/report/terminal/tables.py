"""Tables of blocks and of the Pareto front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.records import Block, Reference, TrialRecord, anchors
from autoprec.report import _figures as figures
from autoprec.report.terminal._columns import Column, Columns

TIE = "≈"


def blocks_table(blocks: Sequence[Block]) -> RenderableType:
    """All blocks with their operators and sizes; below, the refused precisions and the reasons."""
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
            ("not ", "dim"),
            (figures.short(precision), "yellow"),
            # Precisions named in a reason are abbreviated as everywhere in the table.
            f": {' '.join(map(figures.short, reason.split(' ')))} ",
            (f"({figures.which(names, len(blocks))})", "dim"),
        )
        for (precision, reason), names in refused.items()
    ]
    shown = (*(name for block in blocks for name in block.allowed), *(name for name, _ in refused))
    return Group(Columns(columns), Text(), Text(total), *map(Text, figures.legend(shown)), *reasons)


def sensitivity_table(blocks: Sequence[Block], table: Mapping[str, Mapping[str, float]]) -> RenderableType:
    """Mask loss with each block alone in each precision that was tried, in graph order."""
    if not table:
        return Text("no sensitivity has been measured yet: `autoprec search` measures it after the anchors")
    names = sorted({name for row in table.values() for name in row})
    losses = [
        Column(figures.short(name), [_loss(table.get(block.name, {}).get(name)) for block in blocks])
        for name in names
    ]
    columns = (
        Column("block", [Text(block.name, "bold") for block in blocks], right=False),
        Column("MACs", [figures.count(block.macs) for block in blocks], 1),
        *losses,
    )
    told = Text("mask loss with one block alone in a precision, the others as in the reference")
    # Explained only where a dash is seen.
    missing = any(name not in table.get(block.name, {}) for block in blocks for name in names)
    note = f"{figures.NOTHING}: the block may not have it, or it changes nothing there"
    return Group(told, Text(), Columns(columns), *map(Text, [*figures.legend(names), *[note] * missing]))


def _loss(loss: float | None) -> str:
    return figures.NOTHING if loss is None else figures.loss(loss)


def front_table(
    trials: Sequence[TrialRecord],
    reference: Reference | None,
    records: Sequence[TrialRecord] = (),
    picks: Mapping[str, TrialRecord] = MappingProxyType({}),
    accepted_loss: float | None = None,
    clock: str = "",
) -> RenderableType:
    """The front, fastest first, and below it, dimmed, the anchors that are not on it.

    Args:
        trials: the front, as from `Store.front`.
        reference: what latencies are compared with.
        records: all trials of the study.
        picks: the trials that `export` would pick, by `knee` and `fastest`.
        accepted_loss: the mask loss within which the fastest was picked.
        clock: what latencies measure, as from `backends.clocks`.
    """
    if not trials:
        return Text(_empty(records))
    numbers = {trial.number for trial in trials}
    # Anchors that are beaten stay in sight: they are what anybody would have tried first.
    behind = [trial for trial in anchors(records) if trial.number not in numbers]
    shown = [*trials, *behind]
    measured = [trial.measurement for trial in shown if trial.measurement is not None]
    tied = (*figures.ties(trials, reference), *((False, False) for _ in behind))
    both = list(zip(shown, tied, strict=True))
    # Beyond noise alone: a tie with the reference dims no row.
    slower = [figures.is_slower(trial, reference) for trial in trials]
    notes = [_note(t, picks, is_slow) for t, is_slow in zip(trials, slower, strict=True)]
    notes += ["beaten" for _ in behind]
    columns = (
        Column("trial", [str(trial.number) for trial in shown]),
        Column(
            "latency ms",
            [_marked(tie, figures.milliseconds(t.latency_ms)) for t, (tie, _) in both],
        ),
        Column("speed-up", [f"{figures.speedup(m.latency):.2f}x" for m in measured]),
        Column("interval", [_speedup_between(trial) for trial in shown], 3),
        Column("loss", [_marked(tie, figures.loss(t.loss)) for t, (_, tie) in both]),
        Column("interval", [figures.loss_between(m.quality) for m in measured], 4),
        Column("mIoU", [figures.share(m.quality.miou) for m in measured], 2),
        Column("border", [figures.share(m.quality.boundary_iou) for m in measured], 6),
        Column("worst 5%", [figures.loss(m.quality.worst_loss) for m in measured], 5),
        Column("MB", [figures.megabytes(m.engine_bytes) for m in measured], 7),
        Column("precisions", list(map(_assigned, shown, notes)), right=False),
    )
    table = Columns(columns, ["dim" if slow else "" for slow in (*slower, *(True for _ in behind))])
    used = (name for trial in shown for _, name in trial.assignment.choices)
    return Group(
        table,
        Text(),
        *_notes(reference, any(map(any, tied)), notes, accepted_loss),
        *([Text(f"latency: {clock}")] if clock else []),
        *_pooled(trials),
        *_carried(trials),
        *map(Text, figures.legend(used)),
    )


def _empty(trials: Sequence[TrialRecord]) -> str:
    """A sentence on why the front is empty."""
    running = sum(trial.state == "running" for trial in trials)
    failed = sum(trial.state == "failed" for trial in trials)
    # Nothing is complete: the search has only begun, or everything failed.
    if len(trials) == failed + running:
        counts = ", ".join(f"{n} {what}" for n, what in ((running, "running"), (failed, "failed")) if n)
        begun = (
            f"{counts} trials, and none has been measured yet" if counts else "no trial has been measured yet"
        )
        return f"{begun}: run `autoprec search`"
    return "no measured trial can be on the front: each is wrong, or over search.max_memory_mb"


def _pooled(trials: Sequence[TrialRecord]) -> list[Text]:
    """A note on which figures are means of several measurements."""
    words = [f"{t.number} with {', '.join(map(str, t.pooled))}" for t in trials if t.pooled]
    return [Text(f"measured more than once, and pooled: {'; '.join(words)}", "dim")] if words else []


def _assigned(trial: TrialRecord, note: str) -> Text:
    """A trial's assignment, followed by what it is picked as."""
    return Text.assemble(figures.named(trial), "  ", (note, "bold")) if note else figures.named(trial)


def _note(trial: TrialRecord, picks: Mapping[str, TrialRecord], is_slower: bool) -> str:
    names = [name for name, picked in picks.items() if picked.number == trial.number]
    return " ".join([*names, "slower"] if is_slower else names)


def _notes(
    reference: Reference | None, has_ties: bool, words: Sequence[str], accepted_loss: float | None
) -> list[Text]:
    """Notes on the reference, its noise, and the meaning of marks."""
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
    if accepted_loss is not None and any("fastest" in word for word in words):
        notes.append(f"fastest: within the accepted loss of {accepted_loss:g}")
    if "beaten" in words:
        notes.append("beaten: an anchor that is not on the front")
    if any("slower" in word for word in words):
        notes.append("slower: than the reference")
    return [Text(note) for note in notes]


def _carried(trials: Sequence[TrialRecord]) -> list[Text]:
    """Warnings about losses that few samples carry."""
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
