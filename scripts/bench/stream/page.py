"""The report of the measurements."""

from __future__ import annotations

import datetime
import os

from stages import Figures

from autoprec.calibration import WHOLE_SAMPLES

LIMIT_MB, RATE = 200, 0.9


def text(rows: dict[str, list[Figures]]) -> str:
    """The report: a table of stages for each model, and one of steps."""
    head = (
        f"Peak resident memory grows by {grown_mb(rows)} MB from the smallest to the largest number of "
        f"images (limit: {LIMIT_MB}). Rates are samples a second over those of the engines alone on one "
        f"placed sample (wanted: {RATE}), in one run; `alone_ms` is from just before and just after each "
        "stage, `cores_of_others` what other processes took of the machine meanwhile. `setup_s` is paid "
        f"once, whatever the number of samples: builds, and in calibration the first {WHOLE_SAMPLES} "
        "samples, which are observed whole."
    )
    lines = [f"# Streaming, {datetime.date.today()}", "", head, ""]
    for model, figures in rows.items():
        keys = [key for key in figures[0] if key not in ("images", "steps_ms")]
        lines += [
            f"## {model}",
            "",
            f"| images | {' | '.join(str(row['images']) for row in figures)} |",
            f"|{'---|' * (len(figures) + 1)}",
            *(f"| {key} | {' | '.join(_cell(row[key]) for row in figures)} |" for key in keys),
            "",
            "Processor milliseconds of one sample, each step by itself:",
            "",
            "| step | ms |",
            "|---|---|",
            *(f"| {step} | {value} |" for step, value in figures[-1]["steps_ms"].items()),
            "",
            bound(figures[-1]),
            "",
        ]
    return "\n".join(lines)


def bound(row: Figures) -> str:
    """A sentence on the rate that the cores allow for scoring."""
    took, cores = row["steps_ms"], os.cpu_count() or 1
    engine, alone_ms = took["INT8 engine to masks"], sum(row["scoring alone_ms"]) / 2
    beside = took["decode, resize, normalise, truth"] + took["compare"]
    best = alone_ms / max(engine, (engine + beside) / cores)
    return (
        f"Scoring with INT8: {engine:.2f} ms on the engine's core, {beside:.2f} ms beside it to read and to "
        f"compare, so {cores} cores that lose no time allow a rate of {min(1.0, best):.2f} at most."
    )


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " / ".join(map(str, value))
    return "" if value is None else str(value)


def grown_mb(rows: dict[str, list[Figures]]) -> int:
    """Largest growth of memory in MB with the number of images, over all models."""
    return max(int(figures[-1]["peak_mb"] - figures[0]["peak_mb"]) for figures in rows.values())
