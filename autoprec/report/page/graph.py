"""The graph of blocks as a drawing: a row for each block in graph order, and lanes for edges that pass rows.

Only geometry is computed here; `template/graph.html` draws it with escaped names. Lengths are in pixels, or,
if they depend on the page, shares of its width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from autoprec.records import Block, BlockReasons, Explanation, Findings
from autoprec.report import _figures as figures
from autoprec.report.page.axes import COLOURS, QUIET, plain

ROW, GAP = 44, 16
"""Height of a block's box, and of the space below it."""
_LANE, _WIDEST = 12, 96
"""Distance of two lanes, and most space for all of them."""
_OFF = 7
"""Distance from a box's middle at which edges leave and enter it."""


class GraphRow(NamedTuple):
    """A block's box; `share` and `usual_share` are relative to the longest time of any block."""

    name: str
    y: int
    precision: str
    whole: str
    colour: str
    time: str
    share: float | None
    usual_share: float | None
    casts: tuple[str, ...]


class GraphEdge(NamedTuple):
    """An edge from a block to one that reads its values.

    `path` is an SVG path, `tip` the end of its arrow; `cast` says how the type changes on the way, or is
    empty.
    """

    path: str
    tip: tuple[float, float]
    is_down: bool
    title: str
    cast: str
    cast_at: tuple[float, float]


class BlockGraph(NamedTuple):
    """The whole drawing; boxes begin at `left`."""

    number: int
    left: int
    height: int
    rows: tuple[GraphRow, ...]
    edges: tuple[GraphEdge, ...]


def block_graph(findings: Findings) -> BlockGraph | None:
    """The graph with the picked point's precisions; None if no point is picked and explained."""
    picked = findings.explanations.get(findings.picked) if findings.picked is not None else None
    if picked is None:
        return None
    names = [block.name for block in findings.blocks]
    reads = list(_reads(findings.blocks))
    lanes = _lanes(reads)
    spacing = min(_LANE, _WIDEST // max(1, len({*lanes.values()})))
    # The lanes lie to the left of the boxes.
    left = 10 + spacing * (max(lanes.values(), default=-1) + 1)
    casts = {
        (names.index(border.other), place): (border.there, border.here)
        for place, block in enumerate(picked.blocks)
        # Both blocks of a border list it; taking the one it enters counts each once.
        for border in block.borders
        if border.enters
    }
    rows = tuple(_rows(picked, casts, names))
    edges = tuple(
        _edge(
            edge,
            left,
            left - spacing * (lanes[edge[0]] + 1) if edge in _passing(reads) else None,
            names,
            casts,
        )
        for edge in reads
    )
    return BlockGraph(picked.number, left, len(rows) * (ROW + GAP) - GAP + 2, rows, edges)


Edge = tuple[int, int]


def _reads(blocks: Sequence[Block]) -> Iterator[Edge]:
    """(index of a block, index of a block that reads its values)."""
    for source, block in enumerate(blocks):
        for target, other in enumerate(blocks):
            if source != target and {*block.outputs} & {*other.inputs}:
                yield source, target


def _passing(edges: Sequence[Edge]) -> list[Edge]:
    """Edges that do not lead to the next row."""
    return [edge for edge in edges if edge[1] != edge[0] + 1]


def _lanes(edges: Sequence[Edge]) -> dict[int, int]:
    """The lane of each block with such edges; 0 is next to the boxes.

    Shorter spans come first, nearer to the boxes; overlapping spans have different lanes.
    """
    spans: dict[int, tuple[int, int]] = {}
    for source, target in _passing(edges):
        low, high = spans.get(source, (source, source))
        spans[source] = min(low, target), max(high, target)
    lanes: dict[int, int] = {}
    for source in sorted(spans, key=lambda place: (spans[place][1] - spans[place][0], place)):
        low, high = spans[source]
        # Greedy, shortest first: long spans next to the boxes would be crossed by all others.
        taken = {lane for other, lane in lanes.items() if spans[other][0] <= high and low <= spans[other][1]}
        lanes[source] = min({*range(len(taken) + 1)} - taken)
    return lanes


def _rows(
    picked: Explanation, casts: Mapping[Edge, tuple[str, str]], names: Sequence[str]
) -> Iterator[GraphRow]:
    times = [time for block in picked.blocks for time in (block.time_ms, block.usual_ms) if time is not None]
    # A profile of zeros would divide by it.
    longest = max(times, default=0.0) or 1.0
    for place, block in enumerate(picked.blocks):
        yield GraphRow(
            name=block.block,
            y=place * (ROW + GAP) + 1,
            precision=figures.short(block.precision),
            whole=block.precision,
            colour=COLOURS.get(plain(block.precision), QUIET),
            time=_time(block),
            share=None if block.time_ms is None else block.time_ms / longest,
            usual_share=None if block.usual_ms is None else block.usual_ms / longest,
            casts=tuple(
                f"{names[source]} ({figures.short(there)})"
                for (source, target), (there, _) in casts.items()
                if target == place and source != place - 1
            ),
        )


def _time(block: BlockReasons) -> str:
    """Its time and that in the reference: `0.812 of 2.310 ms`."""
    if block.time_ms is None:
        return ""
    usual = "" if block.usual_ms is None else f" of {figures.milliseconds(block.usual_ms)}"
    return f"{figures.milliseconds(block.time_ms)}{usual} ms"


def _edge(
    edge: Edge,
    left: int,
    lane: float | None,
    names: Sequence[str],
    casts: Mapping[Edge, tuple[str, str]],
) -> GraphEdge:
    source, target = edge
    top, bottom = source * (ROW + GAP) + 1, target * (ROW + GAP) + 1
    there, here = casts.get(edge, ("", ""))
    cast = f"{figures.short(there)} \u2192 {figures.short(here)}" if there else ""
    title = f"{names[source]} \u2192 {names[target]}" + (f", cast {cast}" if cast else "")
    # To the next row: straight down.
    if lane is None:
        x = left + 22.0
        path, tip = f"M{x},{top + ROW}V{bottom}", (x, float(bottom))
        return GraphEdge(path, tip, True, title, cast, (x, (top + ROW + bottom) / 2))
    # Off the middle, so that arrows into and out of a row do not lie on one another.
    begin, end = top + ROW / 2 + _OFF, bottom + ROW / 2 - _OFF
    path, tip = f"M{left},{begin}H{lane}V{end}H{left}", (float(left), end)
    return GraphEdge(
        path, tip, False, title, cast, (lane, (end + (begin if end < begin else end - ROW / 2)) / 2)
    )
