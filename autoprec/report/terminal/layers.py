"""A trial's values against the reference's, block by block, with the figures that Polygraphy's users know."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.records import UNLIKE, BlockDifference, Layerwise, in_words
from autoprec.report import _figures as figures
from autoprec.report.terminal._columns import Column, Columns
from autoprec.visible import visible


def layerwise_view(found: Layerwise) -> RenderableType:
    """A row for each block or node, those that break in red; below, the first of them in a sentence."""
    known = [one for one in found.blocks if one.value]
    has_nodes = any(one.node for one in found.blocks)
    names = [Text(visible(one.node or one.block), "bold") for one in known]
    columns = (
        Column("node" if has_nodes else "block", names, right=False),
        Column("runs in", [figures.short(one.precision) for one in known], 1, right=False),
        Column("error", [_part(one.error) for one in known]),
        Column("before", [_part(one.before) for one in known], 2),
        Column("cosine", [f"{one.cosine:.5f}" for one in known], 3),
        Column("max abs", [_short(one.max_abs) for one in known], 4),
        Column("mean abs", [_short(one.mean_abs) for one in known], 5),
        Column("max rel", [_short(one.max_rel) for one in known], 7),
        Column("mean rel", [_short(one.mean_rel) for one in known], 6),
    )
    samples = "1 sample" if found.samples == 1 else f"{found.samples} samples"
    where = "node by node" if has_nodes else "where blocks meet"
    lines = [
        f"trial {found.number} against the reference, {where}: {found.ran}, {samples}",
        "error: of the worst value that is given, over its spread; before: of those that are read",
        *figures.legend(one.precision for one in known),
    ]
    if unknown := [one.node or one.block for one in found.blocks if not one.value]:
        lines.append(f"not compared, because their values are not in both models: {', '.join(unknown)}")
    styles = ["red" if one.error > found.tolerance else "" for one in known]
    told = (Text(visible(line), "dim") for line in lines)
    return Group(Columns(columns, styles), *told, _verdict(found, known))


def _verdict(found: Layerwise, known: list[BlockDifference]) -> Text:
    """The first block that breaks, or that none does."""
    if not known:
        return Text("the two models share no value: nothing could be compared")
    first = next((one for one in known if one.error > found.tolerance), None)
    if first is None:
        worst = max(known, key=lambda one: one.error)
        off, limit = in_words(worst.error), in_words(found.tolerance)
        return Text(visible(f"no block breaks: {worst.block} is off the most, by {off}, within {limit}"))
    off = (
        f" ({first.precision}; {first.usual} in the reference): its value {first.value!r} is off by "
        f"{in_words(first.error)}, what it reads by {in_words(first.before)}"
    )
    name = Text(visible(first.block), "bold red")
    return Text.assemble("the first block that breaks: ", name, visible(off))


def _part(error: float) -> str:
    return "not alike" if error >= UNLIKE else f"{100 * error:.2f} %"


def _short(figure: float) -> str:
    return figures.NOTHING if figure >= UNLIKE else f"{figure:.3g}"
