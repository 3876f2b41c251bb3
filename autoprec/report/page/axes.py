"""What the report's charts share: colours, axes, and an assignment as a tool tip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from autoprec.precisions import PLAIN, PRECISIONS
from autoprec.records import Assignment

Spec = dict[str, Any]
Row = dict[str, Any]

COLOURS = {
    "fp32": "#8f8f8a",
    "fp16": "#56b4e9",
    "bf16": "#0072b2",
    "int8": "#e69f00",
    "fp8": "#cc79a7",
    "int4": "#d55e00",
    "nvfp4": "#7f3b08",
}
"""Colours of precisions: Okabe and Ito's, for colour-blind eyes; floats are cold, quantised precisions
warm."""
ACCENT, ANCHOR, QUIET = "#3a9168", "#b8621b", "#8f8f8a"
"""Colours of the front, of anchors and of everything else, readable on white and on black."""
BLOCK_HEIGHT = 18
"""Pixels per block in a chart."""
LOSS_LINEAR_BELOW = 0.002
"""The loss axis is linear below and logarithmic above: 0 has no logarithm."""
LOSS_TICKS = (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)


def chart(parts: Spec) -> Spec:
    """A specification that is as wide as its place on the page."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        **parts,
    }


def loss_axis(losses: Sequence[float], title: str) -> Spec:
    """An axis for the field `loss`, up to the largest of `losses`."""
    top = max(losses, default=0.0)
    ticks = [tick for tick in LOSS_TICKS if tick <= max(top * 1.5, LOSS_LINEAR_BELOW)]
    return {
        "field": "loss",
        "type": "quantitative",
        "title": title,
        "scale": {"type": "symlog", "constant": LOSS_LINEAR_BELOW, "domainMin": 0},
        "axis": {"values": ticks, "format": "~g"},
    }


def block_axis(names: Sequence[str], *, grid: bool = False) -> Spec:
    """An axis for the field `block`, in graph order. Long names show their ends alone."""
    # Chosen in the browser, which alone knows the width.
    ends = f"(width < 420 ? {_distinct_end(names, 16)} : {_distinct_end(names, 44)})"
    short = f"length(datum.label) > {ends} + 1 ? '\u2026' + slice(datum.label, -{ends}) : datum.label"
    axis = {"labelExpr": short, "labelLimit": 600, "ticks": False, "domain": False, "grid": grid}
    return {"field": "block", "type": "nominal", "sort": list(names), "title": None, "axis": axis}


def _distinct_end(names: Sequence[str], least: int) -> int:
    """How many characters from their ends tell all names apart: `least`, or as many more as it takes."""
    longest = max(map(len, names), default=0)
    tells_apart = (n for n in range(least, longest) if len({name[-n:] for name in names}) == len({*names}))
    return next(tells_apart, max(longest, least))


def precision_colour(used: Iterable[str]) -> Spec:
    """A colour scale for the field `plain`."""
    there = {*used}
    names = [name for name in COLOURS if name in there]
    # A stored study may name precisions that this version lacks: they come last, in grey.
    names += sorted(there - {*names})
    colours = [COLOURS.get(name, QUIET) for name in names]
    return {
        "field": "plain",
        "type": "nominal",
        "title": None,
        "scale": {"domain": names, "range": colours},
        "legend": {"columns": {"expr": "width < 420 ? 3 : 6"}},
    }


def plain(precision: str) -> str:
    """A precision without its cures; one that is unknown to this version stays as it is."""
    return PRECISIONS[precision].plain if precision in PRECISIONS else precision


def by_precision(assignment: Assignment) -> dict[str, str]:
    """The blocks of each plain precision, joined; `variants` lists blocks with cures."""
    names: dict[str, list[str]] = {}
    for block, precision in assignment.choices:
        names.setdefault(plain(precision), []).append(block)
    rows = {precision: ", ".join(names[precision]) for precision in PLAIN if precision in names}
    # Again: what this version does not know follows the table.
    rows |= {precision: ", ".join(blocks) for precision, blocks in names.items()}
    variants = [
        f"{block} {precision}" for block, precision in assignment.choices if plain(precision) != precision
    ]
    return rows | ({"variants": ", ".join(variants)} if variants else {})


def tips(*fields: str, **titled: str) -> list[dict[str, str]]:
    """A tool tip of text fields; keywords give fields another title."""
    plain_fields = [{"field": name, "type": "nominal"} for name in fields]
    return plain_fields + [{"field": f, "type": "nominal", "title": t} for f, t in titled.items()]
