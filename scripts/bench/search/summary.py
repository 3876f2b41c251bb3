"""Tables of the scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from problems import HELD_OUT, KINDS
from scores import CHECKPOINTS

Run = dict[str, Any]
GROUPS = {
    "assumed": "kinds whose structure the surrogates assume in part",
    "foreign": "kinds whose structure they do not assume",
    "rough": "kinds where a block's cost depends on its neighbours at random",
    "misled": "kinds with misleading priors",
    "held out": "kinds that no constant of a strategy was chosen by",
}
OURS, RIVAL = "autoprec anchored", "tpe anchored"
SHOWN = (10, 25, 50, 100, 200)
SHORT = (10, 15, 25, 50)


def markdown(runs: Sequence[Run], note: str) -> str:
    """The whole report as one text."""
    lines = ["# Search strategies on tabular problems", "", note, ""]
    for strategy in (name for name in strategies_of(runs) if name.startswith(OURS)):
        lines += _in_short([run for run in runs if run["strategy"] == strategy], strategy)
    for group, title in GROUPS.items():
        chosen = [run for run in runs if run["group"] == group]
        lines += [f"## {group}: {title}", ""]
        for figure in ("hypervolume", "gain", "share", "near"):
            lines += [f"### {figure}: median (quartiles; worst) after so many evaluations", ""]
            lines += _table(chosen, figure)
    lines += ["## Ours against TPE with anchors", "", *_duel(runs)]
    lines += ["## Median hypervolume of every kind after 50 evaluations", "", *_kinds(runs)]
    lines += ["## Eight in flight against one at a time", "", *_in_flight(runs)]
    lines += ["## Seconds for a proposal", "", *_seconds(runs)]
    return "\n".join(lines)


def _in_short(ours: Sequence[Run], strategy: str) -> list[str]:
    """One strategy on all problems and on parts of them, and how often the best uniform anchor was ahead."""
    if not ours:
        return []
    parts = {
        "all": tuple(GROUPS),
        "rough": ("rough",),
        "misled": ("misled",),
        "all the others": ("assumed", "foreign", "held out"),
    }
    lines = [f"## {strategy}, in short: median / mean", ""]
    lines += ["| problems | figure | " + " | ".join(map(str, SHORT)) + " |", "|---" * (len(SHORT) + 2) + "|"]
    for name, groups in parts.items():
        for figure in ("hypervolume", "share", "near"):
            cells = [
                _both(np.concatenate([values_of(ours, strategy, figure, n, g) for g in groups]))
                for n in SHORT
            ]
            lines.append(f"| {name} | {figure} | " + " | ".join(cells) + " |")
    behind = [values_of(ours, strategy, "behind", n) for n in SHORT]
    cells = [f"{np.count_nonzero(v > 0.01)} of {len(v)}" for v in behind]
    lines.append("| all | slower by 0.01 than the best anchor within 0.01 | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _both(values: Any) -> str:
    return f"{np.median(values):.3f} / {values.mean():.3f}" if len(values) else ""


def strategies_of(runs: Iterable[Run]) -> list[str]:
    """Each strategy once, in order of appearance."""
    return list(dict.fromkeys(run["strategy"] for run in runs))


def values_of(
    runs: Iterable[Run], strategy: str, figure: str, count: int, group: str = "", kind: str = ""
) -> Any:
    """(n,) figures of a strategy over its runs, without NaN.

    Args:
        runs: of all strategies.
        strategy: its name.
        figure: a key of `scores.scored`.
        count: after how many evaluations; runs with a smaller budget are left out.
        group: only runs on this group of problems; empty for all.
        kind: only runs on this kind of problems; empty for all.
    """
    values = [
        run[figure][run["evaluations"].index(count)]
        for run in runs
        if run["strategy"] == strategy
        and group in ("", run["group"])
        and kind in ("", run["kind"])
        and count <= run["budget"]
    ]
    return np.array([value for value in values if not np.isnan(value)])


def _table(runs: Sequence[Run], figure: str) -> list[str]:
    lines = ["| strategy | " + " | ".join(map(str, SHOWN)) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for strategy in strategies_of(runs):
        cells = []
        for count in SHOWN:
            values = values_of(runs, strategy, figure, count)
            if not len(values):
                cells.append("")
                continue
            low, middle, high = np.percentile(values, (25, 50, 75))
            cells.append(f"**{middle:.3f}** ({low:.3f} to {high:.3f}; {values.min():.3f})")
        lines.append(f"| {strategy} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _kinds(runs: Sequence[Run]) -> list[str]:
    strategies = strategies_of(runs)
    lines = ["| kind | " + " | ".join(strategies) + " |", "|---" * (len(strategies) + 1) + "|"]
    for kind in (*KINDS, *HELD_OUT):
        values = [values_of(runs, strategy, "hypervolume", 50, kind=kind.name) for strategy in strategies]
        cells = [f"{np.median(v):.3f}" if len(v) else "" for v in values]
        lines.append(f"| {kind.name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _duel(runs: Sequence[Run]) -> list[str]:
    """The default strategy against TPE, problem by problem, and when it first reaches TPE's final result."""
    note = (
        "Share of the problems on which ours is no worse, and the checkpoint where it has what TPE has after "
        f"{SHOWN[-1]} evaluations (of {', '.join(map(str, CHECKPOINTS))})."
    )
    lines = [
        note,
        "",
        "| group | " + " | ".join(map(str, SHOWN)) + " | reached: median | worst |",
        "|---" * (len(SHOWN) + 3) + "|",
    ]
    for group in GROUPS:
        volumes = {
            (r["kind"], r["seed"], r["strategy"]): r["hypervolume"] for r in runs if r["group"] == group
        }
        pairs = [
            (ours, volumes[kind, seed, RIVAL])
            for (kind, seed, strategy), ours in volumes.items()
            if strategy == OURS and (kind, seed, RIVAL) in volumes
        ]
        if not pairs:
            continue
        ours, theirs = np.array(pairs).transpose(1, 0, 2)
        wins = (ours >= theirs).mean(axis=0)
        best = np.maximum.accumulate(ours, axis=1)
        reached = np.where(best >= theirs[:, -1:], CHECKPOINTS, np.inf).min(axis=1)
        cells = [f"{wins[CHECKPOINTS.index(count)]:.2f}" for count in SHOWN]
        lines.append(f"| {group} | " + " | ".join(cells) + f" | {np.median(reached):g} | {reached.max():g} |")
    return [*lines, ""]


def _in_flight(runs: Sequence[Run]) -> list[str]:
    """What eight trials in flight lose against one, problem by problem."""
    volumes = {
        (r["kind"], r["seed"], r["strategy"]): dict(zip(r["evaluations"], r["hypervolume"], strict=True))
        for r in runs
    }
    pairs = [
        (volumes[kind, seed, f"{OURS} x8"], one)
        for (kind, seed, strategy), one in volumes.items()
        if strategy == OURS and (kind, seed, f"{OURS} x8") in volumes
    ]
    if not pairs:
        return []
    note = (
        "Hypervolume with eight in flight less that of one at a time, after so many evaluations of "
        f"{len(pairs)} problems, each with the same instance and noise."
    )
    head = "| evaluations | mean | median | worst | lower by more than 0.01 |"
    lines = [note, "", head, "|---|---|---|---|---|"]
    for count in SHORT:
        lost = np.array([eight[count] - one[count] for eight, one in pairs])
        figures = f"{lost.mean():+.4f} | {np.median(lost):+.4f} | {lost.min():+.4f}"
        lines.append(f"| {count} | {figures} | {np.count_nonzero(lost < -0.01)} of {len(pairs)} |")
    return [*lines, ""]


def _seconds(runs: Sequence[Run]) -> list[str]:
    lines = ["| strategy | mean | 99 of 100 are under |", "|---|---|---|"]
    for strategy in strategies_of(runs):
        seconds = np.array([run["seconds"] for run in runs if run["strategy"] == strategy])
        lines.append(f"| {strategy} | {seconds[:, 0].mean():.4f} | {seconds[:, 1].mean():.3f} |")
    return [*lines, ""]
