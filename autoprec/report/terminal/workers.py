"""Who measured a study's trials: how many, how fast, and what each is doing now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.text import Text

from autoprec.records import TrialRecord, Worker, WorkerShare
from autoprec.report.terminal._columns import Column, Columns


def shares(trials: Iterable[TrialRecord]) -> tuple[WorkerShare, ...]:
    """Each worker's share of the finished trials that name their worker, largest first."""
    by_worker: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.worker and trial.end and trial.state != "running":
            by_worker.setdefault(trial.worker, []).append(trial)
    listed = (
        WorkerShare(worker=worker, trials=len(mine), trials_an_hour=an_hour(mine))
        for worker, mine in by_worker.items()
    )
    return tuple(sorted(listed, key=lambda share: (-share.trials, share.worker)))


def an_hour(trials: Sequence[TrialRecord]) -> float | None:
    """Trials per hour, not counting the time between runs; None for fewer than two trials."""
    spans: dict[int | None, tuple[datetime, datetime]] = {}
    for trial in trials:
        start, end = datetime.fromisoformat(trial.start), datetime.fromisoformat(trial.end)
        # From the first start to the last end of a run: what lies between two trials, building ahead, is work
        # too.
        first, last = spans.get(trial.run, (start, end))
        spans[trial.run] = min(first, start), max(last, end)
    seconds = sum((last - first).total_seconds() for first, last in spans.values())
    # A single trial may be the reference's own measurement, which is reused and takes no time.
    return 3600 * len(trials) / seconds if seconds > 0 and len(trials) > 1 else None


def shares_line(listed: Sequence[WorkerShare]) -> str:
    """One line: `measured by host gpu 0 (120 trials, 61 an hour), ...`; empty where that is unknown."""
    parts = (f"{share.worker} ({_trials(share.trials)}{_rate(share.trials_an_hour)})" for share in listed)
    return f"measured by {', '.join(parts)}" if listed else ""


def workers_table(workers: Sequence[Worker], trials: Iterable[TrialRecord]) -> Columns:
    """The current workers, and what each of their devices is doing."""
    rows: list[tuple[str, str, str, Text]] = []
    by_name = {share.worker: share for share in shares(trials)}
    for worker in workers:
        for device in worker.devices:
            name = f"{worker.host.split()[0]} {device}"
            share, now = by_name.get(name), [d for d in worker.doing if d.device == device]
            rate = share.trials_an_hour if share else None
            steps = ", ".join(f"trial {d.trial}: {d.stage}" for d in now)
            rows.append(
                (
                    name,
                    str(share.trials if share else 0),
                    "-" if rate is None else f"{rate:.0f}",
                    Text(steps or "preparing, or between trials", "dim"),
                )
            )
    names, counts, rates, now_at = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Columns(
        (
            Column("worker", names, right=False),
            Column("trials", counts),
            Column("an hour", rates),
            Column("now", now_at, right=False),
        )
    )


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def _rate(trials_an_hour: float | None) -> str:
    return "" if trials_an_hour is None else f", {trials_an_hour:.0f} an hour"
