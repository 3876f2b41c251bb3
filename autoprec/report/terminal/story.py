"""Explanations of a trial in words: a table of its blocks, and sentences on each."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.records import BlockReasons, Explanation, Neighbour, Reference
from autoprec.report import _figures as figures
from autoprec.report.terminal._columns import Column, Columns

SURENESS = {
    "measured": "measured: a trial differs in this block alone",
    "indicated": "indicated: trials differ in it and one or two others",
    "prior": "a prior: its effect alone, far from this assignment",
    "unknown": "unknown: only the profile is known",
}
"""Shown by the page's template."""
_MOST = 2
"""Most neighbours shown for a block; `--json` has all."""


def explanation_view(explanation: Explanation, reference: Reference) -> RenderableType:
    """A trial's explanation for a terminal: figures of all blocks, then sentences on each."""
    blocks = explanation.blocks
    ms = figures.milliseconds
    columns = (
        Column("block", [Text(b.block, "bold") for b in blocks], right=False),
        Column("runs in", [figures.short(b.precision) for b in blocks], right=False),
        Column("not", [b.usual if b.usual != b.precision else "" for b in blocks], 3, right=False),
        Column("ms", [figures.NOTHING if b.time_ms is None else ms(b.time_ms) for b in blocks], 2),
        Column("gain ms", [gain(b) for b in blocks]),
        Column("loss alone", [figures.NOTHING if b.alone is None else figures.loss(b.alone) for b in blocks]),
        Column("sure", [sure(b) for b in blocks], 1, right=False),
    )
    lines = [Text(line) for line in headline(explanation, reference)]
    # Blocks with equal sentences share them: the same holds for many blocks of a uniform assignment.
    said: dict[str, list[str]] = {}
    for block in blocks:
        if words := " ".join(sentences(block)):
            said.setdefault(words, []).append(block.block)
    told = [
        Text.assemble((figures.which(names, len(blocks)), "bold"), ": ", words)
        for words, names in said.items()
    ]
    legend = map(Text, figures.legend(b.precision for b in blocks))
    return Group(*lines, Text(), Columns(columns), *legend, Text(), *told)


def headline(explanation: Explanation, reference: Reference) -> Iterator[str]:
    """Sentences on the trial as a whole, and on the time outside its blocks."""
    fast, loss = explanation.speedup_interval, explanation.loss_interval
    changed = [b for b in explanation.blocks if b.precision != b.usual]
    yield (
        f"trial {explanation.number}: {explanation.speedup:.2f}x the {reference.precision} reference "
        f"({fast.low:.2f} to {fast.high:.2f}), mask loss {figures.loss(explanation.loss)} "
        f"({figures.loss(loss.low)} to {figures.loss(loss.high)}); "
        f"{len(changed)} of {len(explanation.blocks)} blocks differ from the reference"
    )
    here, usual = explanation.conversion_ms, explanation.usual_conversion_ms
    if here is None or usual is None:
        yield "there is no profile of this trial: the times of its blocks are unknown"
        return
    ms = figures.milliseconds
    yield f"casts and changes of layout outside all blocks: {ms(here)} ms, {ms(usual)} ms in the reference"
    # By the noise of the whole latency: that of a single block is not measured.
    slower = [b for b in changed if _gain(b) < -reference.latency_noise * reference.latency_ms]
    if slower:
        named = ", ".join(f"{b.block} ({b.precision}, {gain(b)} ms)" for b in slower[:3])
        yield f"slower than in the reference: {named}"


def sentences(block: BlockReasons) -> Iterator[str]:
    """Sentences on a block beyond its figures."""
    if block.usual_kernels and block.kernels > block.usual_kernels:
        yield (
            f"{block.kernels} kernels instead of {block.usual_kernels}: "
            f"{_count(block.kernels - block.usual_kernels, 'fusion')} lost."
        )
    for enters, words in ((True, "Input converted from"), (False, "Output converted for")):
        if borders := [b for b in block.borders if b.enters == enters]:
            yield f"{words} {', '.join(f'{b.other} ({figures.short(b.there)})' for b in borders)}."
    for neighbour in block.neighbours[:_MOST]:
        yield _compared(neighbour, block.block)
    if block.tried and not block.neighbours:
        tried = ", ".join(f"{figures.short(p)} in {_count(count, 'trial')}" for p, count in block.tried[:4])
        yield f"Also tried in {tried}, never as the only difference."


def gain(block: BlockReasons) -> str:
    """Milliseconds that the block's precision saves, with a sign; a dash if unknown."""
    if block.time_ms is None or block.usual_ms is None:
        return figures.NOTHING
    return f"{_gain(block):+.2f}" if abs(_gain(block)) >= 0.005 else "0.00"


def sure(block: BlockReasons) -> str:
    """How sure the reasons are; empty if there is nothing to explain."""
    return "" if block.sureness == "unknown" and block.precision == block.usual else block.sureness


def _gain(block: BlockReasons) -> float:
    return 0.0 if block.time_ms is None or block.usual_ms is None else block.usual_ms - block.time_ms


def _compared(neighbour: Neighbour, block: str) -> str:
    """A sentence on how a trial with another choice here differs."""
    here = dict(neighbour.choices)[block]
    others = [
        f"{name} in {figures.short(precision)}" for name, precision in neighbour.choices if name != block
    ]
    also = f" (and {', '.join(others)})" if others else " and is otherwise equal"
    time = _change(neighbour.latency_ms, neighbour.latency_is_sure, "slower", "faster", " ms", 2)
    loss = _change(neighbour.loss, neighbour.loss_is_sure, "more loss", "less loss", "", 4)
    return f"Trial {neighbour.number} has it in {figures.short(here)}{also}: {time}, {loss}."


def _change(value: float, is_sure: bool, more: str, less: str, unit: str, decimals: int) -> str:
    if not is_sure:
        return "as fast within noise" if unit else "the same loss within noise"
    return f"{abs(value):.{decimals}f}{unit} {more if value > 0 else less}"


def _count(number: int, subject: str) -> str:
    return f"{number} {subject}" if number == 1 else f"{number} {subject}s"
