"""The report's charts of blocks, as Vega-Lite specifications: precisions, time, sensitivity."""

from __future__ import annotations

from collections.abc import Iterator

from autoprec.records import Findings, TrialRecord
from autoprec.report import _figures as figures
from autoprec.report.page.axes import (
    ACCENT,
    BLOCK_HEIGHT,
    Spec,
    block_axis,
    chart,
    loss_axis,
    plain,
    precision_colour,
    tips,
)
from autoprec.report.terminal.story import gain

CROSS = "\u00d7"


def heat_map(findings: Findings) -> Spec:
    """Blocks against front points, fastest first, coloured by precision; a cross marks what ran otherwise."""
    names = [block.name for block in findings.blocks]
    rows = [
        {
            "trial": f"#{record.number}",
            "block": name,
            "precision": precision,
            "plain": plain(precision),
            "latency": f"{figures.milliseconds(record.latency_ms)} ms",
            "loss": figures.loss(record.loss),
            "ran": ran or figures.NOTHING,
            # By a mark: the colour says what was asked for, and not everybody tells colours apart.
            "mark": CROSS if wrong else ("+" if plain(precision) != precision else ""),
        }
        for record in findings.front
        for name, precision, ran, wrong in _choices(record)
    ]
    x = {
        "field": "trial",
        "type": "nominal",
        # As in the data, fastest first: by default names would be sorted.
        "sort": None,
        "title": "front points, fastest first",
        "axis": {"orient": "top", "labelAngle": -60, "labelOverlap": True},
    }
    y = block_axis(names)
    colour = precision_colour(row["plain"] for row in rows)
    shown = tips("block", "precision", "ran", "trial", "latency", "loss")
    layers: list[Spec] = [
        {"mark": {"type": "rect"}, "encoding": {"x": x, "y": y, "color": colour, "tooltip": shown}},
        {
            "mark": {"type": "text", "fontSize": 11, "color": "#111"},
            "transform": [{"filter": "datum.mark !== ''"}],
            "encoding": {"x": x, "y": y, "text": {"field": "mark"}, "tooltip": shown},
        },
    ]
    return chart({"data": {"values": rows}, "layer": layers, "height": BLOCK_HEIGHT * len(names)})


def time_chart(findings: Findings) -> Spec | None:
    """Each block's share of the latency, in the reference and in a selected point; None without profiles."""
    timed = {n: e for n, e in findings.explanations.items() if any(b.time_ms is not None for b in e.blocks)}
    if not timed:
        return None
    rows = [
        {
            "block": block.block,
            "ms": ms,
            "time": f"{figures.milliseconds(ms)} ms",
            "engine": engine,
            "number": number,
            "precision": precision,
            "gain": f"{gain(block)} ms",
        }
        for number, explanation in timed.items()
        for block in explanation.blocks
        for engine, precision, ms in (
            ("reference", block.usual, block.usual_ms),
            ("choice", block.precision, block.time_ms),
        )
        if ms is not None
    ]
    engines = ["reference", "choice"]
    colours = {"domain": engines, "range": ["#b4b4ae", ACCENT]}
    labels = [_label(record, findings) for record in findings.front if record.number in timed]
    bind = {"input": "select", "options": list(timed), "labels": labels, "name": "choice "}
    # The picked point may have no profile.
    first = findings.picked if findings.picked in timed else next(iter(timed))
    encoding = {
        "y": block_axis([block.name for block in findings.blocks]),
        "yOffset": {"field": "engine", "type": "nominal", "sort": engines},
        "x": {"field": "ms", "type": "quantitative", "title": "ms of the latency"},
        "color": {"field": "engine", "type": "nominal", "title": None, "scale": colours},
        "tooltip": tips("block", "engine", "precision", "time", "gain"),
    }
    # The rows of all points travel with the page, and a filter shows one: there is no server to ask.
    parts = {
        "params": [{"name": "point", "value": first, "bind": bind}],
        "data": {"values": rows},
        "transform": [{"filter": "datum.number === point"}],
        "mark": {"type": "bar"},
        "height": BLOCK_HEIGHT * len(findings.blocks),
        "encoding": encoding,
    }
    return chart(parts)


def sensitivity_chart(findings: Findings) -> Spec | None:
    """Mask loss with one block alone in a quantised precision; None if none was measured."""
    rows = [
        {"block": block, "precision": name, "plain": plain(name), "loss": loss, "shown": figures.loss(loss)}
        for block, row in findings.sensitivity.items()
        for name, loss in row.items()
    ]
    if not rows:
        return None
    names = [block.name for block in findings.blocks]
    losses = [loss for row in findings.sensitivity.values() for loss in row.values()]
    encoding = {
        "x": loss_axis(losses, "mask loss with this block alone"),
        "y": block_axis(names, grid=True),
        "color": precision_colour(str(row["plain"]) for row in rows),
        "tooltip": tips("block", "precision", shown="loss"),
    }
    mark = {"type": "point", "filled": True, "size": 60, "opacity": 0.9}
    return chart(
        {"data": {"values": rows}, "mark": mark, "height": BLOCK_HEIGHT * len(names), "encoding": encoding}
    )


def _choices(record: TrialRecord) -> Iterator[tuple[str, str, str, bool]]:
    """(block, precision, what ran, whether it is a mismatch)."""
    audits = {row.block: row for row in record.measurement.audit} if record.measurement else {}
    for block, precision in record.assignment.choices:
        audit = audits.get(block)
        yield block, precision, audit.ran if audit else "", audit is not None and audit.matches is False


def _label(record: TrialRecord, findings: Findings) -> str:
    knee = ", knee" if record.number == findings.picked else ""
    ms, loss = figures.milliseconds(record.latency_ms), figures.loss(record.loss)
    return f"#{record.number}: {ms} ms, loss {loss}{knee}"
