"""What a proposal costs after many trials of 40 blocks: `python scripts/bench/search/costs.py`.

Writes `search_cost_DATE.md`: CPU seconds of one proposal, and of eight in one step, on one thread; and the
peak memory of the process that holds all trials. Trials are random assignments of a tabular problem.
"""

from __future__ import annotations

import argparse
import datetime
import resource
import statistics
import time
from pathlib import Path

import numpy as np
from problems import Kind, Problem
from trials import complete

from autoprec.search import Strategy, create_strategy
from autoprec.search.space import Space

COUNTS = (100, 500, 1000, 2000, 4000, 10_000)
KIND = Kind("cost-40x4", "assumed", 40, 4)
RESULTS = Path(__file__).parents[3] / "studies" / "results"


def main() -> None:
    """Measure every count, smallest first, because a process' peak of memory only grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    problem = Problem(KIND, 0)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    note = (
        f"CPU seconds on one thread, {len(problem.blocks)} blocks of {KIND.precisions} precisions, medians "
        f"of {options.repeats}. By `scripts/bench/search/costs.py`."
    )
    lines = [
        f"# What a proposal costs ({date})",
        "",
        note,
        "",
        "| trials | one proposal | eight in one step | peak memory of the process, MB |",
        "|---|---|---|---|",
    ]
    for count in COUNTS:
        strategy = taught(problem, count)
        one, eight = (cpu_seconds(strategy, wanted, options.repeats) for wanted in (1, 8))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(f"| {count} | {one:.3f} | {eight:.3f} | {peak:.0f} |")
        print(lines[-1])
    (options.out / f"search_cost_{date}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def taught(problem: Problem, count: int) -> Strategy:
    """The default strategy after `count` trials: the anchors, and random ones."""
    space = Space(problem.blocks)
    rows = np.concatenate((problem.anchors, space.draw(np.random.default_rng(0), count)))[:count]
    strategy = create_strategy("autoprec", seed=0, blocks=problem.blocks, priors=problem.priors)
    strategy.learn(
        complete(number, problem.blocks, space.decode(row), (float(values[0]), float(values[1])))
        for number, (row, values) in enumerate(zip(rows, problem.truth(rows), strict=True))
    )
    return strategy


def cpu_seconds(strategy: Strategy, wanted: int, repeats: int) -> float:
    """Median CPU time of a step of `wanted` proposals."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        assert len(strategy.propose(wanted)) == wanted
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
