"""Figures from the trials of a setting, and the table of all settings."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from autoprec.records import TrialRecord

STAGES = ("rewrite", "build", "run", "decode", "compare", "timing", "wait", "total")


def rates(trials: Sequence[TrialRecord], workers: int) -> dict[str, Any]:
    """Trials per hour while every worker is busy, and where a trial's time goes."""
    ends = sorted(_seconds(trial.end) for trial in trials)
    done = [t.measurement for t in trials if t.measurement is not None]
    # Counted are the trials that end between the first trial of every worker and the last start: neither
    # the start of workers nor the tail, in which fewer and fewer are busy.
    steady, window = 0.0, 0.0
    if len(ends) > workers:
        begin, until = ends[workers - 1], max(_seconds(trial.start) for trial in trials)
        window = until - begin
        if window > 0:
            steady = 3600 * sum(begin < end <= until for end in ends) / window
    return {
        "trials": len(trials),
        "failed": sum(t.state == "failed" for t in trials),
        "failures": sorted({t.failure.kind for t in trials if t.failure is not None}),
        "window_seconds": round(window, 1),
        "trials_an_hour": round(steady, 1),
        "median_seconds": {
            stage: round(statistics.median(getattr(m.seconds, stage) for m in done), 2) if done else None
            for stage in STAGES
        },
        "by_worker": {
            name: sum(t.worker == name for t in trials) for name in sorted({t.worker for t in trials})
        },
    }


def spread(pairs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """How far from 1 the ratios of the reference against itself were."""
    off = sorted(abs(ratio - 1) for ratio, _, _ in pairs)
    if not off:
        return {"against_itself": 0}
    return {
        "against_itself": len(off),
        "median_off": round(statistics.median(off), 5),
        "worst_off": round(off[-1], 5),
        "intervals_with_1": sum(low <= 1 <= high for _, low, high in pairs),
    }


def markdown(results: dict[str, Any]) -> str:
    """The results of one model as Markdown."""
    head = (
        "GPUs", "jobs", "trials", "failed", "trials an hour", "times the first", "search's CPU, cores",
        "total s", "build s", "rewrite s", "run s", "compare s", "timing s", "wait s",
        "reference against itself: median off", "worst off", "of",
    )  # fmt: skip
    first = results["settings"][0]["trials_an_hour"] if results["settings"] else 0
    rows: list[tuple[object, ...]] = [head, ("---",) * len(head)]
    for row in results["settings"]:
        gain = f"{row['trials_an_hour'] / first:.2f}" if first else "-"
        seconds = row["median_seconds"]
        counts = row["devices"], row["jobs"], row["trials"], row["failed"], row["trials_an_hour"], gain
        times = (
            seconds[stage] for stage in ("total", "build", "rewrite", "run", "compare", "timing", "wait")
        )
        off = row.get("median_off", "-"), row.get("worst_off", "-"), row["against_itself"]
        rows.append((*counts, row["search_cores"], *times, *off))
    began = results["first_trial_seconds"]
    about = (
        f"{results['command']}, {results['date']}; {results['cores']} cores for each GPU. "
        + ("Prepared by an earlier run" if began is None else f"Prepared in {results['prepared_seconds']} s")
        + ("." if began is None else f", the first trial began after {began} s.")
    )
    lines = [f"# Workers in parallel: {results['model']} on {results['device']}", "", about, ""]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
