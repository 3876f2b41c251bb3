"""The points of all models as a table, and at each loss who is fastest."""

from __future__ import annotations

import datetime
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from autoprec.records import TrialRecord

LOSSES = (0.005, 0.01, 0.02, 0.04, 0.08)
TIE = 0.01
"""Speed-ups this near are the same: what two builds and a busy machine make of one model."""
Points = dict[str, dict[str, Any]]


def best(trials: Iterable[TrialRecord], loss: float) -> TrialRecord | None:
    """The fastest trial within a loss."""
    within = [trial for trial in trials if trial.loss <= loss]
    return min(within, key=lambda trial: trial.latency_ms, default=None)


def markdown(results: dict[str, Points], trials: int) -> str:
    """Every point, then the winners."""
    names = list(results)
    rows = list(dict.fromkeys(row for points in results.values() for row in points))
    lines = [
        f"# autoprec and its peers, {datetime.date.today()}",
        "",
        (
            f"Speed-up over the FP32 reference / mask loss, {trials} trials; "
            f"OpenVINO, one thread, {_processor()}."
        ),
        "",
        *_table(["", *names], [[row, *(_cell(results[name].get(row)) for name in names)] for row in rows]),
        "",
        (
            "The fastest point within each loss, of the peers, of the uniform assignments and of the search "
            f"(a peer within {TIE:.0%} is a tie):"
        ),
        "",
    ]
    body = []
    for name in names:
        for loss in LOSSES:
            cells = [_fastest(_of(results[name], kind), loss) for kind in ("peer", "anchor", "autoprec")]
            verdict = "behind" if cells[0][1] > cells[2][1] * (1 + TIE) else "first or tied"
            body.append([name, f"{loss:g}", *(text for text, _ in cells), verdict])
    return "\n".join(
        (*lines, *_table(["model", "loss", "best peer", "best anchor", "search", "autoprec is"], body), "")
    )


def _processor() -> str:
    """The processor's name where Linux tells it."""
    told = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.+)", told.read_text()) if told.exists() else None
    return match[1] if match else platform.machine()


def _of(points: Points, kind: str) -> Points:
    """The points of the anchors, of the search, or of the peers; the search has measured the anchors, too."""
    if kind == "peer":
        return {n: point for n, point in points.items() if not n.startswith(("anchor", "autoprec"))}
    prefixes = ("anchor",) if kind == "anchor" else ("anchor", "autoprec")
    return {n: point for n, point in points.items() if n.startswith(prefixes)}


def _fastest(points: Points, loss: float) -> tuple[str, float]:
    """The fastest point within a loss, in words, and its speed-up."""
    within = {name: point["speedup"] for name, point in points.items() if point.get("loss", 1.0) <= loss}
    if not within:
        return "-", 0.0
    name = max(within, key=lambda n: within[n])
    return f"{within[name]:.2f} ({name})", within[name]


def _cell(point: dict[str, Any] | None) -> str:
    if point is None:
        return "-"
    if "failure" in point:
        return f"none: {point['failure'][:60]}"
    return f"{point['speedup']:.2f} / {point['loss']:.4f}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (head, *body)]
    lines = ["| " + " | ".join(row) + " |" for row in escaped]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]
