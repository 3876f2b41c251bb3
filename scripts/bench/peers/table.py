"""The points of all models as a table: the fastest at each loss, and whether it meets the goals.

python scripts/bench/peers/table.py studies/results/peers_*.json     # prints the table of stored results
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from autoprec.records import TrialRecord

LOSSES = (0.005, 0.01, 0.02, 0.04, 0.08)
TIE = 0.01
"""Relative difference of speed-ups that counts as a tie: two builds of one model differ as much on a busy
machine."""
GAINS = ((0.01, 0.05), (0.02, 0.10))
"""Goals, each a loss and a gain: within the loss, the search should be faster than the best uniform
assignment by the gain, on two models of three."""
Points = dict[str, dict[str, Any]]


def main() -> None:
    """Print the goals that stored results meet; of a model that several files have, the last one counts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="JSON of the bench")
    results: dict[str, Points] = {}
    for path in parser.parse_args().results:
        results |= json.loads(path.read_text(encoding="utf-8"))
    print("\n".join(goals(results)))


def goals(results: dict[str, Points]) -> list[str]:
    """Model by model: whether any peer is outside the search's front, and what the search gains."""
    head = [
        "model",
        "peers outside the front",
        *(f"gain within {loss:g}, aim {aim:.0%}" for loss, aim in GAINS),
    ]
    body, met = [], [0] * len(GAINS)
    for name, points in results.items():
        ahead = [f"{loss:g}" for loss in LOSSES if is_behind(points, loss)]
        cells = [name, "at " + ", ".join(ahead) if ahead else "none: met"]
        for place, (loss, aim) in enumerate(GAINS):
            anchor, ours = (_fastest(_of(points, kind), loss)[1] for kind in ("anchor", "autoprec"))
            gain = ours / anchor - 1.0 if anchor else 0.0
            met[place] += gain >= aim
            cells.append(f"{gain:+.1%}: {'met' if gain >= aim else 'not met'}")
        body.append(cells)
    wanted = math.ceil(2 * len(results) / 3)
    reached = [f"{count} of {len(results)}: {'met' if count >= wanted else 'not met'}" for count in met]
    return _table(head, [*body, [f"goal: two of three, so {wanted}", "", *reached]])


def is_behind(points: Points, loss: float) -> bool:
    """Whether a peer is faster within a loss than anything of the search, beyond a tie."""
    peer, ours = (_fastest(_of(points, kind), loss)[1] for kind in ("peer", "autoprec"))
    return peer > ours * (1 + TIE)


def best(trials: Iterable[TrialRecord], loss: float) -> TrialRecord | None:
    """The fastest trial within a loss."""
    within = [trial for trial in trials if trial.loss <= loss]
    return min(within, key=lambda trial: trial.latency_ms, default=None)


def markdown(results: dict[str, Points], trials: int) -> str:
    """All points, then the fastest ones."""
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
            verdict = "behind" if is_behind(results[name], loss) else "first or tied"
            body.append([name, f"{loss:g}", *(text for text, _ in cells), verdict])
    return "\n".join(
        (
            *lines,
            *_table(["model", "loss", "best peer", "best anchor", "search", "autoprec is"], body),
            "",
            *goals(results),
            "",
        )
    )


def _processor() -> str:
    """The processor's name, as far as Linux reports it."""
    told = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.+)", told.read_text()) if told.exists() else None
    return match[1] if match else platform.machine()


def _of(points: Points, kind: str) -> Points:
    """The points of anchors, search or peers; those of the search include the anchors, which it measures."""
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


if __name__ == "__main__":
    main()
