"""Tables and a plot of the scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from problems import HELD_OUT, KINDS
from scores import CHECKPOINTS

mpl.use("Agg")
from matplotlib import pyplot as plt

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


def markdown(runs: Sequence[Run], note: str) -> str:
    """The whole report as one text."""
    lines = ["# Search strategies on tabular problems", "", note, ""]
    for group, title in GROUPS.items():
        chosen = [run for run in runs if run["group"] == group]
        lines += [f"## {group}: {title}", ""]
        for figure in ("hypervolume", "gain", "share", "near"):
            lines += [f"### {figure}: median (quartiles; worst) after so many evaluations", ""]
            lines += _table(chosen, figure)
    lines += ["## Ours against TPE with anchors", "", *_duel(runs)]
    lines += ["## Median hypervolume of every kind after 50 evaluations", "", *_kinds(runs)]
    lines += ["## Seconds for a proposal", "", *_seconds(runs)]
    return "\n".join(lines)


def plot(runs: Sequence[Run], path: Path) -> None:
    """Hypervolume and gain over evaluations: medians, with quartiles shaded."""
    figure, axes = plt.subplots(2, len(GROUPS), figsize=(5 * len(GROUPS), 8), sharex=True)
    for column, group in enumerate(GROUPS):
        for row, name in enumerate(("hypervolume", "gain")):
            axis = axes[row][column]
            for strategy in _strategies(runs):
                points = [(n, _values(runs, strategy, name, n, group)) for n in CHECKPOINTS]
                points = [(n, values) for n, values in points if len(values)]
                if points:
                    low, middle, high = np.array([np.percentile(v, (25, 50, 75)) for _, v in points]).T
                    counts = [n for n, _ in points]
                    (line,) = axis.plot(counts, middle, marker=".", label=strategy)
                    axis.fill_between(counts, low, high, alpha=0.12, color=line.get_color())
            axis.set_xscale("log")
            axis.set_xticks(SHOWN, [str(n) for n in SHOWN])
            axis.set_title(f"{group}: {name}")
            axis.grid(alpha=0.3)
        axes[1][column].set_xlabel("evaluations")
        axes[0][column].set_ylim(0.8, 1.005)
        axes[1][column].set_ylim(-0.05, 1.02)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _strategies(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run["strategy"] for run in runs))


def _values(
    runs: Iterable[Run], strategy: str, figure: str, count: int, group: str = "", kind: str = ""
) -> Any:
    found = [
        run[figure][run["evaluations"].index(count)]
        for run in runs
        if run["strategy"] == strategy
        and group in ("", run["group"])
        and kind in ("", run["kind"])
        and count <= run["budget"]
    ]
    return np.array([value for value in found if not np.isnan(value)])


def _table(runs: Sequence[Run], figure: str) -> list[str]:
    lines = ["| strategy | " + " | ".join(map(str, SHOWN)) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for strategy in _strategies(runs):
        cells = []
        for count in SHOWN:
            values = _values(runs, strategy, figure, count)
            if not len(values):
                cells.append("")
                continue
            low, middle, high = np.percentile(values, (25, 50, 75))
            cells.append(f"**{middle:.3f}** ({low:.3f} to {high:.3f}; {values.min():.3f})")
        lines.append(f"| {strategy} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _kinds(runs: Sequence[Run]) -> list[str]:
    strategies = _strategies(runs)
    lines = ["| kind | " + " | ".join(strategies) + " |", "|---" * (len(strategies) + 1) + "|"]
    for kind in (*KINDS, *HELD_OUT):
        values = [_values(runs, strategy, "hypervolume", 50, kind=kind.name) for strategy in strategies]
        cells = [f"{np.median(v):.3f}" if len(v) else "" for v in values]
        lines.append(f"| {kind.name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _duel(runs: Sequence[Run]) -> list[str]:
    """Problem by problem, and where ours first has what TPE has in the end."""
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
        found = {(r["kind"], r["seed"], r["strategy"]): r["hypervolume"] for r in runs if r["group"] == group}
        pairs = [
            (ours, found[kind, seed, RIVAL])
            for (kind, seed, strategy), ours in found.items()
            if strategy == OURS and (kind, seed, RIVAL) in found
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


def _seconds(runs: Sequence[Run]) -> list[str]:
    lines = ["| strategy | mean | 99 of 100 are under |", "|---|---|---|"]
    for strategy in _strategies(runs):
        seconds = np.array([run["seconds"] for run in runs if run["strategy"] == strategy])
        lines.append(f"| {strategy} | {seconds[:, 0].mean():.4f} | {seconds[:, 1].mean():.3f} |")
    return [*lines, ""]
