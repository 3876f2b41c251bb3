"""The report's charts of all trials, as Vega-Lite specifications: the front, and the search's progress.

See https://vega.github.io/vega-lite/docs/spec.html. Names that come from the model are data, never fields or
expressions, so nothing in them is evaluated; Vega's tool tips escape them. Axes and text have the page's
colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoprec.precisions import PLAIN
from autoprec.records import Findings, Measurement, Reference, TrialRecord, counting
from autoprec.report import _figures as figures
from autoprec.report.page.axes import ACCENT, ANCHOR, QUIET, Row, Spec, by_precision, chart, loss_axis, tips
from autoprec.report.vega import vega

_NEAR = 0.12
"""Labels of anchors closer than this share of the latency axis are placed above one another."""
_LEVELS = 4
_AT_THE_LEFT = "scale('x', datum.ms) < 130"
"""Vega expression: whether a label that ends at its point would begin outside the chart."""
_ANCHOR_AT_THE_LEFT = "scale('x', datum.ms) < 3.2 * length(datum.anchor)"
"""The same of an anchor's label, centred above its point; half a character is about 3.2 pixels wide."""


def front_chart(findings: Findings) -> Spec:
    """Latency against mask loss: all trials, the front with its intervals, anchors, the reference."""
    rows = _levelled(list(_points(findings)))
    # Not from 0: latencies of one model lie close together, and would all be one heap at the right.
    x = {"field": "ms", "type": "quantitative", "title": "latency, ms", "scale": {"zero": False}}
    y = loss_axis([row["loss"] for row in rows], "mask loss")
    shown = tips("trial", "latency", "speed-up", "mask loss", "mIoU", *_assigned(findings))
    at: Spec = {"x": x, "y": y}
    hair: Spec = {"type": "rule", "strokeWidth": 1.5, "color": ACCENT, "opacity": 0.6}
    dot: Spec = {"type": "circle", "opacity": 1}
    layers = [
        *_reference(findings.reference),
        _layer("datum.kind === 'trial'", dot | {"size": 22, "opacity": 0.45, "color": QUIET}, at, shown),
        _layer(
            # Steps, since a latency between two points still has the loss of the faster one.
            "datum.kind === 'front'",
            {"type": "line", "interpolate": "step-after", "strokeWidth": 1.5, "color": ACCENT},
            at | {"order": {"field": "ms"}},
        ),
        _layer(
            "datum.kind === 'front'", hair, {"x": x | {"field": "low_ms"}, "x2": {"field": "high_ms"}, "y": y}
        ),
        _layer(
            "datum.kind === 'front'",
            hair,
            {"x": x, "y": y | {"field": "low_loss"}, "y2": {"field": "high_loss"}},
        ),
        _layer("datum.kind === 'front'", dot | {"size": 70, "color": ACCENT}, at, shown),
        _layer(
            "datum.anchor !== ''",
            {"type": "point", "shape": "diamond", "size": 130, "filled": True, "opacity": 1, "color": ANCHOR},
            at,
            shown,
        ),
        *_anchor_labels(rows, at),
        # Below and to the left of a front's point there is no trial, and so no anchor's label.
        _layer(
            "datum.mark !== '' && datum.anchor === ''",
            {
                "type": "text",
                "dy": {"expr": f"{_AT_THE_LEFT} ? 19 : 11"},
                "dx": {"expr": f"{_AT_THE_LEFT} ? -3 : -7"},
                "align": {"expr": f"{_AT_THE_LEFT} ? 'left' : 'right'"},
                "fontSize": 11,
                "fontWeight": "bold",
            },
            at | {"text": {"field": "mark"}},
        ),
    ]
    return chart({"data": {"values": rows}, "layer": layers, "height": 340})


def progress_chart(findings: Findings) -> Spec:
    """The area behind the front after each trial, with a dashed line where a later run begins."""
    rows = [{"trial": number, "area": 100 * area} for number, area in findings.volumes]
    starts = [
        {"trial": night.first, "night": f"night {number}"}
        for number, night in enumerate(findings.nights, 1)
        if number > 1 and night.trials
    ]
    x = {"field": "trial", "type": "quantitative", "title": "trial", "axis": {"tickMinStep": 1}}
    y = {"field": "area", "type": "quantitative", "title": "area behind the front, %"}
    line = {
        "type": "line",
        "interpolate": "step-after",
        "color": ACCENT,
        "point": {"size": 18, "color": ACCENT},
    }
    shown = [{"field": "trial"}, {"field": "area", "format": ".1f"}]
    layers: list[Spec] = [
        {"data": {"values": rows}, "mark": line, "encoding": {"x": x, "y": y, "tooltip": shown}}
    ]
    if starts:
        rule = {"type": "rule", "strokeDash": [4, 3], "color": QUIET}
        text = {"type": "text", "align": "left", "dx": 4, "baseline": "top", "y": 2}
        layers += [
            {"data": {"values": starts}, "mark": rule, "encoding": {"x": x}},
            {"data": {"values": starts}, "mark": text, "encoding": {"x": x, "text": {"field": "night"}}},
        ]
    return chart({"layer": layers, "height": 220})


def front_png(findings: Findings, *, scale: float = 2.0) -> bytes:
    """The front alone as a PNG, 720 pixels wide times `scale`, on white."""
    spec = front_chart(findings) | {"width": 720, "title": f"{findings.study}: latency and mask loss"}
    spec["config"] = {"background": "white", "font": "sans-serif", "view": {"stroke": None}}
    return vega("vegalite_to_png", spec, scale=scale)


def _layer(where: str, mark: Spec, encoding: Spec, shown: Sequence[object] = ()) -> Spec:
    """A layer of marks for the rows that pass a filter."""
    pointed = {"tooltip": list(shown)} if shown else {}
    return {"transform": [{"filter": where}], "mark": mark, "encoding": encoding | pointed}


def _reference(reference: Reference | None) -> list[Spec]:
    """A line at the reference's latency, and the band of its noise."""
    if reference is None:
        return []
    ms, noise = reference.latency_ms, reference.latency_noise
    name = f"reference {reference.precision}"
    row = {"ms": ms, "low": ms * (1 - noise), "high": ms * (1 + noise), "name": name}
    x = {"field": "ms", "type": "quantitative"}
    rule = {"type": "rule", "strokeDash": [4, 3], "color": QUIET}
    band = {"type": "rect", "opacity": 0.12, "color": QUIET}
    text = {"type": "text", "angle": 270, "align": "right", "dy": -6, "y": 4, "fontSize": 11}
    layers: list[Spec] = [
        {"mark": band, "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}}},
        {"mark": rule, "encoding": {"x": x}},
        {"mark": text, "encoding": {"x": x, "text": {"field": "name"}}},
    ]
    return [{"data": {"values": [row]}, "layer": layers}]


def _points(findings: Findings) -> Iterator[Row]:
    """The pooled measurements of all assignments, with their tool tips."""
    on_front = {record.number for record in findings.front}
    labels: set[str] = set()
    # Vega shows "undefined" in tool tips for fields that a row lacks.
    blank = dict.fromkeys(_assigned(findings), figures.NOTHING)
    for record in counting(findings.trials):
        measured = record.measurement
        assert measured is not None
        # Only the first trial with a label gets it, so that a repeated anchor is not labelled twice.
        anchor = figures.short(record.label) if record.label not in labels else ""
        labels.add(record.label)
        yield (
            blank
            | _point(record, measured, findings)
            | {
                "kind": "front" if record.number in on_front else "trial",
                "anchor": anchor,
                "mark": findings.marks.get(record.number, ""),
            }
        )


def _point(record: TrialRecord, measured: Measurement, findings: Findings) -> Row:
    ms, loss, between = figures.milliseconds, figures.loss, figures.between
    latency, quality = measured.latency, measured.quality
    usual = findings.reference.latency_ms if findings.reference else latency.reference_median_ms
    time, fast, spread = latency.interval_ms(usual), figures.speedup_interval(latency), quality.loss_interval
    return {
        "trial": f"#{record.number} {record.label}".strip(),
        "ms": record.latency_ms,
        "low_ms": time.low,
        "high_ms": time.high,
        "loss": record.loss,
        "low_loss": max(spread.low, 0.0),
        "high_loss": spread.high,
        "latency": f"{ms(record.latency_ms)} ms {between(ms(time.low), ms(time.high))}",
        "speed-up": f"{figures.speedup(latency):.2f}x {between(f'{fast.low:.2f}', f'{fast.high:.2f}')}",
        "mask loss": f"{loss(record.loss)} {figures.loss_between(quality)}",
        "mIoU": figures.share(quality.miou),
        **by_precision(record.assignment),
    }


def _anchor_labels(rows: list[Row], at: Spec) -> list[Spec]:
    """A layer for each height that labels of anchors have."""
    is_left = _ANCHOR_AT_THE_LEFT
    beside = {
        "dx": {"expr": f"{is_left} ? -3 : 0"},
        "align": {"expr": f"{is_left} ? 'left' : 'center'"},
    }
    return [
        _layer(
            f"datum.anchor !== '' && datum.level === {level}",
            {"type": "text", "dy": -12 - 13 * level, "fontSize": 11, **beside},
            at | {"text": {"field": "anchor"}},
        )
        for level in sorted({row["level"] for row in rows if row["anchor"]})
    ]


def _levelled(rows: list[Row]) -> list[Row]:
    """The rows, with labels of anchors near one another at different heights."""
    times = [row["ms"] for row in rows]
    near = _NEAR * (max(times, default=0.0) - min(times, default=0.0))
    placed: list[Row] = []
    for row in sorted((row for row in rows if row["anchor"]), key=lambda row: float(row["ms"])):
        taken = {other["level"] for other in placed if row["ms"] - other["ms"] < near}
        # Where all heights are taken, labels overlap: still higher, one would leave the chart.
        row["level"] = min(set(range(_LEVELS)) - taken, default=0)
        placed.append(row)
    return rows


def _assigned(findings: Findings) -> list[str]:
    """Plain precisions that occur in trials, in the table's order; `variants` if there are any."""
    used = {name for record in findings.trials for name in by_precision(record.assignment)}
    return [name for name in (*PLAIN, "variants") if name in used]
