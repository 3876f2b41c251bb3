"""The stored outcome against what it must be, and the page that reports it."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

import optuna
import psycopg

from autoprec.records import (
    pareto,
)
from autoprec.store import Store
from stand_ins import STUDY


def finished(address: str) -> int:
    """Number of complete trials; -1 while the server is down."""

    try:
        with psycopg.connect(address.replace("+psycopg", "")) as connection:
            row = connection.execute(
                "SELECT count(*) FROM autoprec_trials WHERE state = 'complete'"
            ).fetchone()
            return int(row[0]) if row else 0
    except psycopg.OperationalError:
        return -1


def times(spent: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Medians and 95th percentiles of the workers' calls, in seconds: of all, and of the end tenths."""
    # The tenths show whether calls become slower the more trials there are.
    parts = {"": slice(None), "_of_the_first_tenth": slice(0, 10), "_of_the_last_tenth": slice(90, 100)}
    seconds = {}
    for name in ("begin", "settle", "propose"):
        for part, hundredths in parts.items():
            values = sorted(value for one in spent for value in _part(one.get(name, []), hundredths))
            if values:
                tail = values[int(0.95 * len(values))]
                seconds[f"{name}_seconds{part}"] = [round(statistics.median(values), 4), round(tail, 4)]
    return seconds


def _part(values: list[float], hundredths: slice) -> list[float]:
    """The part of a list between two hundredths."""
    start, stop, _ = hundredths.indices(100)
    return values[start * len(values) // 100 : stop * len(values) // 100]


def verdict(address: str, budget: int) -> dict[str, Any]:
    """Counts that must be 0, or True, at the end."""
    with Store.open(address) as store:
        trials, front, running = store.trials(STUDY), store.front(STUDY), store.running(STUDY)
        storage = store.optuna()
        told = storage.get_all_trials(storage.get_study_id_from_name(STUDY), deepcopy=False)
        workers = store.workers(STUDY)
    complete = [trial for trial in trials if trial.state == "complete"]
    times_measured = Counter(trial.assignment.digest for trial in complete)
    values = {t.number: [t.latency_ms, t.loss] for t in complete}
    return {
        "complete": len(complete),
        "interrupted": sum(t.failure is not None and t.failure.kind == "interrupted" for t in trials),
        "lost": budget - len(complete),
        "doubled": sum(count - 1 for count in times_measured.values()),
        "numbers_missing": len(set(range(len(trials))) - {trial.number for trial in trials}),
        "still_running": len(running),
        "workers_left": len(workers),
        "front_is_right": front == pareto(trials),
        "optuna_differs": sum(
            values.get(trial.number) != trial.values
            for trial in told
            if trial.state == optuna.trial.TrialState.COMPLETE or trial.number in values
        ),
    }


def markdown(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    first = results["runs"][0]
    names = [name for name in first if any(name in row for row in results["runs"])]
    lines = [
        f"# Simulated workers on PostgreSQL, {results['date']}",
        "",
        f"`scripts/scale/simulate_scale.py {results['arguments']}` on {results['cores']} cores, which the",
        "workers share with the server. Pairs are the median and the 95th percentile, in seconds,",
        "waiting for other writers included.",
        "",
        f"| | {' | '.join(str(number + 1) for number in range(len(results['runs'])))} |",
        f"|---{'|---' * len(results['runs'])}|",
        *(
            f"| {name.replace('_', ' ')} | {' | '.join(str(row.get(name)) for row in results['runs'])} |"
            for name in names
        ),
    ]
    return "\n".join(lines) + "\n"
