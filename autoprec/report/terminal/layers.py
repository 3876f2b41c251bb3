"""A trial's values against the reference's, block by block, with the figures that Polygraphy prints."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.records import UNLIKE, BlockDifference, Layerwise, in_words
from autoprec.report import _figures as figures
from autoprec.report.terminal._columns import Column, Columns
from autoprec.visible import visible


def layerwise_view(layerwise: Layerwise) -> RenderableType:
    """A row for each block or node, red if it breaks; below, a sentence on the first that does."""
    compared = [one for one in layerwise.blocks if one.value]
    has_nodes = any(one.node for one in layerwise.blocks)
    names = [Text(visible(one.node or one.block), "bold") for one in compared]
    columns = (
        Column("node" if has_nodes else "block", names, right=False),
        Column("runs in", [figures.short(one.precision) for one in compared], 1, right=False),
        Column("error", [_part(one.error) for one in compared]),
        Column("before", [_part(one.before) for one in compared], 2),
        Column("cosine", [f"{one.cosine:.5f}" for one in compared], 3),
        Column("max abs", [_short(one.max_abs) for one in compared], 4),
        Column("mean abs", [_short(one.mean_abs) for one in compared], 5),
        Column("max rel", [_short(one.max_rel) for one in compared], 7),
        Column("mean rel", [_short(one.mean_rel) for one in compared], 6),
    )
    samples = "1 sample" if layerwise.samples == 1 else f"{layerwise.samples} samples"
    where = "node by node" if has_nodes else "where blocks meet"
    lines = [
        f"trial {layerwise.number} against the reference, {where}: {layerwise.ran}, {samples}",
        "error: of the block's worst output, relative to its spread; before: of its inputs",
        *figures.legend(one.precision for one in compared),
    ]
    if unknown := [one.node or one.block for one in layerwise.blocks if not one.value]:
        lines.append(f"not compared, because their values are not in both models: {', '.join(unknown)}")
    styles = ["red" if one.error > layerwise.tolerance else "" for one in compared]
    told = (Text(visible(line), "dim") for line in lines)
    return Group(Columns(columns, styles), *told, _verdict(layerwise, compared))


def _verdict(layerwise: Layerwise, compared: list[BlockDifference]) -> Text:
    """A sentence on the first block that breaks, or on none doing so."""
    if not compared:
        return Text("the two models share no value: nothing could be compared")
    first = next((one for one in compared if one.error > layerwise.tolerance), None)
    if first is None:
        worst = max(compared, key=lambda one: one.error)
        off, limit = in_words(worst.error), in_words(layerwise.tolerance)
        return Text(visible(f"no block breaks: {worst.block} differs most, by {off}, within {limit}"))
    off = (
        f" ({first.precision}; {first.usual} in the reference): its output {first.value!r} differs by "
        f"{in_words(first.error)}, its inputs by {in_words(first.before)}"
    )
    name = Text(visible(first.block), "bold red")
    return Text.assemble("the first block that breaks: ", name, visible(off))


def _part(error: float) -> str:
    return "not alike" if error >= UNLIKE else f"{100 * error:.2f} %"


def _short(figure: float) -> str:
    return figures.NOTHING if figure >= UNLIKE else f"{figure:.3g}"
