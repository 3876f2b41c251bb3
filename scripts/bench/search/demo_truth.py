"""Strategies judged on real measurements: every assignment of the demo's encoder, in 8 merged blocks.

    python scripts/bench/search/demo_truth.py measure       # hours; goes on where it was
    python scripts/bench/search/demo_truth.py judge

`measure` builds, scores and times all 3^8 = 6561 assignments of FP32, BF16 and INT8 with its cures with
OpenVINO, those of 7 blocks (2187, the two attention blocks alike) first, and keeps them in a cache folder.
On many cores several may share the work: `TMPDIR=$(mktemp -d) ... measure --part 0/24` takes every 24th (a
temporary folder of its own, or they wait for one another's timings). `judge` runs every strategy against the
table, with the noise that a study has, and writes `demo_truth_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import optuna
from numpy.typing import NDArray
from trials import complete

from autoprec.measurement.messages import Job
from autoprec.measurement.workbench import Workbench
from autoprec.records import Assignment, Block, Measurement
from autoprec.search import Priors, create_strategy
from autoprec.search.fronts import front_mask, front_of, hypervolume
from autoprec.search.space import Space
from autoprec.spec import TimingSection, load_spec
from autoprec.study.preparation import Prepared, prepare

ROOT = Path(__file__).resolve().parents[3]
QUANTISED = "int8+smooth+float-add+adaround+bias"
PRECISIONS = ("fp32", "bf16", QUANTISED)
GROUPS = {
    "stem": ("stem.",),
    "stages.0": ("stages.0.",),
    "stages.1": ("stages.1.",),
    "stages.2.blocks.0": ("stages.2.blocks.0",),
    "stages.2.blocks.1": ("stages.2.blocks.1",),
    "stages.2.blocks.2": ("stages.2.blocks.2",),
    "stages.3": ("stages.3.",),
    "neck": ("neck.",),
}
TWINS = (4, 5)
IMAGES = 8
TIMING = TimingSection(interval=0.02, seconds=0.5, minimum_rounds=5, warmup=1)
STRATEGIES = ("autoprec", "tpe", "nsga2", "random")
CHECKPOINTS = (10, 15, 25, 50, 100, 200)
LATENCY_NOISE = 0.007
LOSS_LIMIT = 0.01
Codes = tuple[int, ...]
Values = tuple[float, float]
Floats = NDArray[np.float64]


def main() -> None:
    """Parse and do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("measure", "judge"))
    parser.add_argument("--cache", type=Path, default=ROOT / "build/demo_truth")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=ROOT / "studies/results")
    parser.add_argument("--part", default="0/1", help="K/N: every Nth assignment from the Kth on")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    if options.step == "measure":
        part, parts = map(int, options.part.split("/"))
        measure(options.cache, part, parts)
    else:
        judge(options.cache, options.seeds, options.results)


def everything() -> Iterator[Codes]:
    """Uniform assignments first, then those with the twins alike, then the rest."""
    codes = list(itertools.product(range(len(PRECISIONS)), repeat=len(GROUPS)))
    yield from sorted(codes, key=lambda row: (len(set(row)) > 1, row[TWINS[0]] != row[TWINS[1]]))


def measure(cache: Path, part: int, parts: int) -> None:
    """Append one line of JSON for each assignment of a part that is not there yet."""
    path, rows_read = cache / f"table{part}.jsonl", read(cache)
    spec = load_spec(ROOT / "studies/demo.toml")
    samples = msgspec.structs.replace(spec.samples, evaluation_limit=IMAGES)
    search = msgspec.structs.replace(spec.search, reference="fp32", precisions=PRECISIONS)
    spec = msgspec.structs.replace(
        spec, folder=str(cache / f"part{part}"), samples=samples, timing=TIMING, search=search
    )
    prepared = prepare(spec, print)
    bench = Workbench(prepared.setup)
    with path.open("a", encoding="utf-8") as file:
        for row in itertools.islice(everything(), part, None, parts):
            if row not in rows_read:
                values, times = measured(prepared, bench, row)
                file.write(json.dumps([row, *values, times]) + "\n")
                file.flush()


def measured(prepared: Prepared, bench: Workbench, row: Codes) -> tuple[Values, dict[str, float]]:
    """(ratio to the reference, loss), and the blocks' times if the row is uniform."""
    choices = {block.name: PRECISIONS[row[group_of(block.name)]] for block in prepared.blocks}
    assignment = Assignment.from_mapping(prepared.blocks, choices)
    with prepared.scratch() as path:
        candidate = prepared.rewrite(assignment, path)
        job = Job(
            setup=prepared.setup,
            candidate_path=candidate.model_path,
            assignment=assignment,
            blocks=prepared.blocks,
            heavy=prepared.deciding(assignment),
            profiled=len(set(row)) == 1,
        )
        measurement = bench.measure(job, lambda _: None)
    return (measurement.latency.ratio, measurement.quality.loss), group_times(
        measurement
    ) if job.profiled else {}


def group_times(measurement: Measurement) -> dict[str, float]:
    """Milliseconds of each group, by profile."""
    times = dict.fromkeys(GROUPS, 0.0)
    for row in measurement.audit:
        times[list(GROUPS)[group_of(row.block)]] += row.time_ms
    return times


def group_of(block: str) -> int:
    """Place of the group that a block is in."""
    return next(n for n, starts in enumerate(GROUPS.values()) if block.startswith(starts))


def read(cache: Path) -> dict[Codes, tuple[float, float, dict[str, float]]]:
    """The table so far; a last line that was cut off is dropped."""
    table = {}
    paths = sorted(cache.glob("table*.jsonl"))
    for line in (line for path in paths for line in path.read_text(encoding="utf-8").splitlines()):
        with contextlib.suppress(json.JSONDecodeError):
            row, ratio, loss, times = json.loads(line)
            table[tuple(row)] = (ratio, loss, times)
    return table


class Truth:
    """The measured table as a search problem of 8 blocks, or of 7 where the rest is not measured."""

    def __init__(self, cache: Path) -> None:
        table = read(cache)
        self.whole = len(table) == len(PRECISIONS) ** len(GROUPS)
        names = [name for place, name in enumerate(GROUPS) if self.whole or place != TWINS[1]]
        self.blocks = tuple(Block(name=name, nodes=(), allowed=PRECISIONS) for name in names)
        alike = {row: entry for row, entry in table.items() if self.whole or row[TWINS[0]] == row[TWINS[1]]}
        self.values = {self._merged(row): (entry[0], entry[1]) for row, entry in alike.items()}
        if len(self.values) != len(PRECISIONS) ** len(names):
            raise SystemExit(f"{len(table)} assignments are measured; go on with `measure`")
        self.anchors = np.repeat(np.arange(len(PRECISIONS))[:, None], len(names), axis=1)
        uniform = {PRECISIONS[row[0]]: entry[2] for row, entry in table.items() if entry[2]}
        self.priors = self._priors(uniform)
        self.array = np.array(list(self.values.values()))
        self.corner = 1.1 * self.of(map(tuple, self.anchors.tolist())).max(axis=0)

    def of(self, rows: Iterable[Codes]) -> Floats:
        """(n, 2) ratio and loss."""
        return np.array([self.values[row] for row in rows])

    def _merged(self, row: Codes) -> Codes:
        return row if self.whole else row[: TWINS[1]] + row[TWINS[1] + 1 :]

    def _priors(self, uniform: dict[str, dict[str, float]]) -> Priors:
        """What a study would know: losses of INT8 alone, and profiles of the anchors."""
        count = len(self.blocks)
        alone = {block.name: tuple(2 * (n == i) for n in range(count)) for i, block in enumerate(self.blocks)}
        times: dict[str, dict[str, float]] = {block.name: {} for block in self.blocks}
        for precision, row in uniform.items():
            for name, milliseconds in row.items():
                home = name if name in times else list(GROUPS)[TWINS[0]]
                times[home][precision] = times[home].get(precision, 0.0) + milliseconds
        return Priors(
            sensitivity={name: {QUANTISED: self.values[row][1]} for name, row in alone.items()},
            latency_ms=times,
            reference_latency_ms=sum(uniform["fp32"].values()),
        )


def run(truth: Truth, strategy: str, seed: int) -> list[Codes]:
    """The rows that a strategy tries, anchors first. Latencies are in ms of the profiled reference."""
    proposer = create_strategy(strategy, seed=seed, blocks=truth.blocks, priors=truth.priors)
    space, random = Space(truth.blocks), np.random.default_rng(seed)
    queue, rows = [tuple(row) for row in truth.anchors], list[Codes]()
    for number in range(max(CHECKPOINTS)):
        if not queue:
            queue = [row for a in proposer.propose() if (row := space.encode(a.as_dict())) is not None]
        rows.append(queue.pop(0))
        ratio, loss = truth.values[rows[-1]]
        reference = truth.priors.reference_latency_ms or 1.0
        latency = ratio * reference * float(np.exp(LATENCY_NOISE * random.normal()))
        proposer.learn([complete(number, truth.blocks, space.decode(rows[-1]), (latency, loss))])
    return rows


def figures(truth: Truth, rows: Sequence[Codes]) -> dict[str, list[float]]:
    """Hypervolume, gain and share of the speed-up at the loss limit, by budget."""
    best, anchors = front_of(truth.array), truth.of(rows[: len(PRECISIONS)])
    whole, start = hypervolume(best, truth.corner), hypervolume(anchors, truth.corner)
    table: dict[str, list[float]] = {"hypervolume": [], "gain": [], "share": []}
    for count in CHECKPOINTS:
        values = truth.of(rows[:count])
        reached = hypervolume(values[front_mask(values)], truth.corner)
        table["hypervolume"].append(reached / whole)
        table["gain"].append((reached - start) / (whole - start))
        table["share"].append(speed_up(values) / speed_up(best))
    return table


def speed_up(values: Floats) -> float:
    """Largest speed-up within the loss limit."""
    return 1.0 / float(values[values[:, 1] <= LOSS_LIMIT, 0].min()) - 1.0


def judge(cache: Path, seeds: int, results: Path) -> None:
    """Run, compare, write."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    truth, date = Truth(cache), datetime.datetime.now(datetime.UTC).date().isoformat()
    runs = {name: [figures(truth, run(truth, name, seed)) for seed in range(seeds)] for name in STRATEGIES}
    half = CHECKPOINTS.index(50)
    ours, tpe = ([entry["hypervolume"][half] for entry in runs[name]] for name in ("autoprec", "tpe"))
    wins = sum(a > b for a, b in zip(ours, tpe, strict=True))
    head = ("strategy", *(f"{count}" for count in CHECKPOINTS), "gain at 50", "share at 50")
    text = (
        f"{date}; {len(truth.blocks)} merged blocks, {', '.join(PRECISIONS)}, {IMAGES} images; medians of "
        f"{seeds} seeds of normalised hypervolume by evaluations, the uniform assignments counted. At 50, "
        f"autoprec's is above TPE's in {wins} of {seeds} seeds. By `scripts/bench/search/demo_truth.py`.\n"
    )
    lines = [
        f"# The demo's exhaustive truth: {len(truth.values)} assignments\n",
        text,
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
    ]
    for name, entries in runs.items():
        medians = np.median([entry["hypervolume"] for entry in entries], axis=0)
        rest = (np.median([entry[key][half] for entry in entries]) for key in ("gain", "share"))
        lines.append("| " + " | ".join((name, *(f"{v:.3f}" for v in (*medians, *rest)))) + " |")
    results.mkdir(parents=True, exist_ok=True)
    (results / f"demo_truth_{date}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = [[*row, *np.round(values, 5).tolist()] for row, values in truth.values.items()]
    (results / f"demo_truth_{date}.json").write_text(
        json.dumps({"blocks": [b.name for b in truth.blocks], "table": table, "runs": runs}) + "\n",
        encoding="utf-8",
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
