"""A plot of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scores import CHECKPOINTS
from summary import GROUPS, SHOWN, Run, strategies_of, values_of

mpl.use("Agg")
from matplotlib import pyplot as plt


def plot(runs: Sequence[Run], path: Path) -> None:
    """Hypervolume and gain over evaluations: medians, with quartiles shaded."""
    figure, axes = plt.subplots(2, len(GROUPS), figsize=(5 * len(GROUPS), 8), sharex=True)
    for column, group in enumerate(GROUPS):
        for row, name in enumerate(("hypervolume", "gain")):
            axis = axes[row][column]
            for strategy in strategies_of(runs):
                points = [(n, values_of(runs, strategy, name, n, group)) for n in CHECKPOINTS]
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
