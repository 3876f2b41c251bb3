"""Search strategies side by side on tabular problems: `python scripts/bench/search --seeds 5`.

Constants of strategies were chosen on seeds from 100 to 103; judge on others (`--first-seed`), and on the
kinds that are held out.

Writes `search_bench.json`, `search_bench.md` and `search_bench.png`. Traces are kept in a cache folder, so an
interrupted bench is resumed; delete the folder after changing a strategy. Draws where matplotlib is; GP takes
part where torch can be imported, on small problems.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from oracle import best_front
from problems import HELD_OUT, KINDS, Kind, Problem
from scores import Best, scored
from strategies import STRATEGIES, Trace, run
from summary import Run, markdown

from autoprec.search.fronts import front_of

GP_BUDGET, GP_BLOCKS = 50, 24
ORACLE_LIMIT = 300_000
NETWORK_LIMIT = 40_000
OURS = "autoprec anchored"
RESULTS = Path(__file__).parents[3] / "studies" / "results"


class Job(NamedTuple):
    """One trace: a strategy on one instance of a kind."""

    kind: Kind
    seed: int
    strategy: str
    cache: Path
    budget: int
    oracle: int

    @property
    def evaluations(self) -> int:
        """Budget of the strategy."""
        return min(GP_BUDGET, self.budget) if self.strategy.startswith("gp") else self.budget


def main() -> None:
    """Run the traces that the cache lacks, then write the results of complete problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="instances of every kind")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=200, help="evaluations of every trace")
    parser.add_argument(
        "--oracle", type=int, default=ORACLE_LIMIT, help="evaluations of the truth for the best front"
    )
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--cache", type=Path, default=Path("build/bench_search"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--minutes", type=float, default=60.0, help="no trace is begun after this")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    names = options.strategies.split(",")
    jobs = [
        Job(k, s, n, options.cache, options.budget, options.oracle)
        for s in range(options.first_seed, options.first_seed + options.seeds)
        for k in (*KINDS, *HELD_OUT)
        for n in names
        if takes_part(k, n)
    ]
    jobs.sort(key=lambda job: job.strategy.startswith("gp"))  # minutes each, and no problem waits for them
    deadline = time.monotonic() + 60 * options.minutes
    with multiprocessing.Pool(options.workers) as pool:
        pool.starmap(trace, [(job, deadline) for job in jobs], chunksize=1)
        scores = pool.map(scores_of, problems_of(jobs), chunksize=1)
    write([entries for entries in scores if entries], jobs[0].seed, options.out)


def takes_part(kind: Kind, strategy: str) -> bool:
    """Whether a strategy runs on a kind; GP does not where a proposal takes seconds."""
    return not strategy.startswith("gp") or (
        importlib.util.find_spec("torch") is not None and 0 < kind.blocks <= GP_BLOCKS
    )


def trace(job: Job, deadline: float = float("inf")) -> Trace | None:
    """The trace of one job, from the cache if possible; None after the deadline."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind, seed, strategy = job.kind, job.seed, job.strategy
    path = job.cache / f"{kind.name}.{seed}.{strategy.replace(' ', '-')}.json"
    if path.exists():
        rows, values, seconds = json.loads(path.read_text(encoding="utf-8"))
        return [tuple(row) for row in rows], [tuple(value) for value in values], seconds
    if time.monotonic() > deadline:
        return None
    ran = run(strategy, Problem(kind, seed), job.evaluations, seed)
    rows = [[int(code) for code in row] for row in ran[0]]
    path.write_text(json.dumps([rows, ran[1], ran[2]]), encoding="utf-8")
    return ran


def problems_of(jobs: list[Job]) -> list[list[Job]]:
    """The jobs of each problem."""
    problems: dict[tuple[Kind, int], list[Job]] = {}
    for job in jobs:
        problems.setdefault((job.kind, job.seed), []).append(job)
    return list(problems.values())


def scores_of(group: list[Job]) -> list[Run] | None:
    """One entry for each strategy of one problem; None if a trace is missing."""
    traces = {job.strategy: trace(job, -1.0) for job in group}
    if not all(ran for name, ran in traces.items() if not name.startswith("gp")):
        return None
    return _scores(group[0], {name: ran for name, ran in traces.items() if ran})


def write(scores: list[list[Run]], first: int, out: Path) -> None:
    """Write the report of all complete problems."""
    runs = [run for entries in scores for run in entries]
    note = (
        f"{len(scores)} problems of {len(KINDS) + len(HELD_OUT)} kinds, seeds from {first} on; "
        "every seed is another instance and another noise. The front "
        "that was measured is judged by its true values against the best front known. Anchors count. "
        "`+ finalists` spends its last ones on measuring the best again, as a study does: 3 of 50. "
        f"GP takes part on synthetic problems of up to {GP_BLOCKS} blocks, for {GP_BUDGET} evaluations."
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "search_bench.json").write_text(
        "[\n" + ",\n".join(json.dumps(entry) for entry in runs) + "\n]\n", encoding="utf-8"
    )
    picture = "\n![Hypervolume and gain over evaluations](search_bench.png)\n"
    (out / "search_bench.md").write_text(markdown(runs, note) + picture, encoding="utf-8")
    if importlib.util.find_spec("matplotlib"):
        importlib.import_module("drawing").plot(runs, out / "search_bench.png")


def _scores(job: Job, traces: dict[str, Trace]) -> list[Run]:
    """One entry for each strategy."""
    kind, seed = job.kind, job.seed
    problem = Problem(kind, seed)
    limit = min(NETWORK_LIMIT, job.oracle) if kind.loss == "network" else job.oracle
    # Traces take part in the best front known, or a strategy could be better than the best.
    seen = [problem.truth(np.array(ran[0], dtype=np.intp)) for ran in traces.values()]
    best = Best(problem, front_of(np.concatenate((problem.truth(best_front(problem, seed, limit)), *seen))))
    entries: list[Run] = []
    for name, ran in traces.items():
        entry = {"kind": kind.name, "group": kind.group, "seed": seed, "strategy": name}
        entry["budget"] = job._replace(strategy=name).evaluations
        entries.append({**entry, **scored(best, ran, seed, finalists=False)})
        if name == OURS:
            entry["strategy"] = f"{OURS} + finalists"
            entries.append({**entry, **scored(best, ran, seed, finalists=True)})
    return entries


if __name__ == "__main__":
    main()
