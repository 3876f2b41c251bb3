"""The front as a small text plot: latency to the right, mask loss upwards."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

from rich.text import Text

from autoprec.records import Reference, TrialRecord, counting, pareto
from autoprec.report import _figures as figures
from autoprec.report.terminal.harmless import Drawing
from autoprec.visible import visible

TRIAL, FRONT, REFERENCE = "·", "●", "┊"
STYLES = {TRIAL: "dim", FRONT: "bold green", REFERENCE: "cyan"}
TICKS = (0.0, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
LINEAR_BELOW = 0.002
"""Smaller losses are drawn on a linear scale, since 0 has no logarithm."""

Cells = dict[tuple[int, int], tuple[str, str]]


def front_plot(
    trials: Sequence[TrialRecord], reference: Reference | None, width: int = 72, height: int = 14
) -> Drawing:
    """Plot the pooled measurements of all assignments.

    Anchors are lettered, points of the Pareto front are filled, and a line marks the reference's latency.

    Args:
        trials: all trials of a study.
        reference: of the study; None before it is measured.
        width: in columns, including the axis.
        height: in rows, inside the axes.
    """
    shown = counting(trials)
    if not shown:
        return Drawing(Text("no trial is complete yet"))
    anchors = dict(zip(string.ascii_uppercase, _anchors(shown), strict=False))
    left = max(len(f"{tick:g}") for tick in TICKS) + 2
    area = Area(shown, reference, max(width - left, 10), max(height, 3))
    # Later entries cover earlier ones: the reference lies below trials, those below the front, anchors on
    # top.
    cells: Cells = {}
    front = pareto(shown)
    if reference is not None:
        column, _ = area.place(reference.latency_ms, 0.0)
        cells |= {(column, row): (REFERENCE, STYLES[REFERENCE]) for row in range(area.rows)}
    for trial in shown:
        cells[area.place(trial.latency_ms, trial.loss)] = (TRIAL, STYLES[TRIAL])
    for trial in front:
        cells[area.place(trial.latency_ms, trial.loss)] = (FRONT, STYLES[FRONT])
    for letter, trial in anchors.items():
        style = STYLES[FRONT] if trial in front else "bold yellow"
        cells[area.place(trial.latency_ms, trial.loss)] = (letter, style)
    plot = Text(no_wrap=True, overflow="crop")
    plot.append("mask loss\n", "bold")
    _draw(plot, area, cells, left)
    return _legend(plot, anchors, reference, width)


class Area:
    """Maps points to cells; column 0 is the left edge, row 0 the bottom.

    Args:
        trials: trials that must fit.
        reference: its latency must fit too.
        columns: width of the area.
        rows: height of the area.
    """

    def __init__(
        self, trials: Sequence[TrialRecord], reference: Reference | None, columns: int, rows: int
    ) -> None:
        latencies = [trial.latency_ms for trial in trials]
        latencies += [reference.latency_ms] if reference else []
        # A single latency has no range, which place() would divide by.
        margin = 0.03 * (max(latencies) - min(latencies)) or 0.05 * max(latencies)
        self.low, self.high = max(min(latencies) - margin, 0.0), max(latencies) + margin
        # The floor also keeps row() from dividing by 0 where no trial has a loss.
        self.top = max(*(trial.loss for trial in trials), LINEAR_BELOW)
        self.columns, self.rows = columns, rows

    def place(self, latency_ms: float, loss: float) -> tuple[int, int]:
        """(column, row) of a point."""
        right = (latency_ms - self.low) / (self.high - self.low)
        return round(right * (self.columns - 1)), self.row(loss)

    def row(self, loss: float) -> int:
        """The row of a loss: linear near 0, logarithmic above (the inverse hyperbolic sine)."""
        up = math.asinh(max(loss, 0.0) / LINEAR_BELOW) / math.asinh(self.top / LINEAR_BELOW)
        return round(up * (self.rows - 1))


def _anchors(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The first trial of each label."""
    # A dict keeps the last value of a key and the place of its first, hence reversed twice.
    return list({trial.label: trial for trial in reversed(trials) if trial.label}.values())[::-1]


def _draw(plot: Text, area: Area, cells: Cells, left: int) -> None:
    """Append the rows from the top, then the axis with its ends and its middle."""
    labels: dict[int, str] = {}
    for tick in TICKS:
        if tick <= area.top:
            labels.setdefault(area.row(tick), f"{tick:g}")
    for row in reversed(range(area.rows)):
        plot.append(f"{labels.get(row, ''):>{left - 2}} ")
        plot.append("┤" if row in labels else "│", "dim")
        for column in range(area.columns):
            plot.append(*cells.get((column, row), (" ", "")))
        plot.append("\n")
    plot.append(" " * (left - 1))
    plot.append("└" + "─" * area.columns + "\n", "dim")
    middle, end = figures.milliseconds((area.low + area.high) / 2), figures.milliseconds(area.high)
    start = figures.milliseconds(area.low)
    half = area.columns // 2
    scale = f"{start}{middle:^{max(2 * (half - len(start)), 0)}}"
    plot.append(" " * left + f"{scale[: area.columns - len(end) - 1]:<{area.columns - len(end)}}{end}\n")
    plot.append(f"{'latency in ms':>{left + area.columns}}\n", "bold")


def _legend(plot: Text, anchors: dict[str, TrialRecord], reference: Reference | None, width: int) -> Drawing:
    """Append what the marks mean, wrapped between marks."""
    marks = [(FRONT, STYLES[FRONT], "front"), (TRIAL, STYLES[TRIAL], "trial")]
    if reference is not None:
        marks.append((REFERENCE, STYLES[REFERENCE], f"reference {reference.precision}"))
    marks += [(letter, "bold yellow", visible(trial.label)) for letter, trial in anchors.items()]
    used = 0
    for mark, style, words in marks:
        size = len(mark) + len(words) + 3
        if used and used + size > width:
            plot.append("\n")
            used = 0
        plot.append(mark, style)
        plot.append(f" {words}  ")
        used += size
    return Drawing(plot)
