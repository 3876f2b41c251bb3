"""Strategies judged on real measurements: every assignment of a model in a few merged blocks.

    python scripts/bench/search/measured_truth.py measure studies/demo.toml --groups 7       # resumes
    python scripts/bench/search/measured_truth.py judge studies/demo.toml --groups 7

Neighbouring blocks are merged into groups of about the same work. `measure` builds, scores and times all
assignments of FP32, BF16 and INT8 with its cures to groups with OpenVINO, and keeps them in a cache folder.
On many cores several may share the work: `TMPDIR=$(mktemp -d) taskset -c 0 ... --part 0/24` takes every 24th
(a temporary folder of its own, or they wait for one another's timings). `judge` runs every strategy against
the table, with the noise that a study has, and writes `NAME_in_GROUPS_truth_DATE.{json,md}`. With
`--table` it judges on the table of earlier results, which holds no profiles: strategies know less then.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import optuna
from merging import merged
from numpy.typing import NDArray
from trials import complete

from autoprec.measurement.messages import Job
from autoprec.measurement.workbench import Workbench
from autoprec.records import Assignment, Block, Interval
from autoprec.search import Priors, create_strategy
from autoprec.search.fronts import front_mask, front_of, hypervolume
from autoprec.search.space import Space
from autoprec.spec import TimingSection, load_spec
from autoprec.study.events import Quiet
from autoprec.study.preparation import Prepared
from autoprec.study.session import Parallel, session

ROOT = Path(__file__).resolve().parents[3]
QUANTISED = "int8+smooth+float-add+adaround+bias"
PRECISIONS = ("fp32", "bf16", QUANTISED)
IMAGES = 8
TIMING = TimingSection(interval=0.02, seconds=0.5, minimum_rounds=5, warmup=1)
STRATEGIES = ("autoprec", "tpe", "nsga2", "random")
CHECKPOINTS = (10, 15, 25, 50)
LATENCY_NOISE = 0.007
LOSS_LIMIT = 0.01
UNBEATEN = ((Interval(low=0.0, high=0.0), Interval(low=0.0, high=0.0)),)
"""Nothing leads it: what a candidate's engine computes counts here, whether or not that is its file."""
Codes = tuple[int, ...]
Values = tuple[float, float]
Floats = NDArray[np.float64]
Table = dict[Codes, tuple[float, float, list[float]]]
"""Ratio to the reference and loss of each assignment, and the groups' times in ms if it is uniform."""


def main() -> None:
    """Parse arguments, and run the step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("measure", "judge"))
    parser.add_argument("study", type=Path, help="a definition")
    parser.add_argument("--groups", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=ROOT / "build/measured_truth")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=ROOT / "studies/results")
    parser.add_argument("--table", type=Path, help="JSON of earlier results, to judge on")
    parser.add_argument("--part", default="0/1", help="K/N: every Nth assignment from the Kth on")
    options = parser.parse_args()
    cache = options.cache / options.study.stem
    cache.mkdir(parents=True, exist_ok=True)
    if options.step == "measure":
        part, parts = map(int, options.part.split("/"))
        measure(options.study, options.groups, cache, part, parts)
    else:
        table = stored(options.table) if options.table else read(cache)
        truth = Truth(table, options.groups)
        judge(options.study.stem, truth, options.seeds, options.results, _origin(options.table))


def _origin(table: Path | None) -> str:
    """What the table consists of, in words."""
    if table is None:
        return f"{', '.join(PRECISIONS)}, {IMAGES} images"
    return f"the table and precisions of `{table.name}`, without profiles of the anchors"


def everything(groups: int) -> list[Codes]:
    """All assignments of groups, uniform ones first."""
    return sorted(itertools.product(range(len(PRECISIONS)), repeat=groups), key=lambda row: len(set(row)) > 1)


def measure(study: Path, groups: int, cache: Path, part: int, parts: int) -> None:
    """Append a line of JSON for each assignment of a part that has not been measured.

    Args:
        study: path of the definition.
        groups: number of groups.
        cache: folder of the tables.
        part: index of this part.
        parts: number of parts that share the work.
    """
    path, rows_read = cache / f"table{part}.jsonl", read(cache)
    spec = load_spec(study)
    samples = msgspec.structs.replace(spec.samples, evaluation_limit=IMAGES, calibration_limit=2 * IMAGES)
    search = msgspec.structs.replace(spec.search, reference="fp32", precisions=PRECISIONS)
    spec = msgspec.structs.replace(
        spec, folder=str(cache / f"part{part}"), samples=samples, timing=TIMING, search=search
    )
    # A session, since it asks the engine on which grids it computes what it should.
    with session(spec, Quiet(), Parallel(), checks=False) as opened, path.open("a", encoding="utf-8") as file:
        bench, owners = Workbench(opened.prepared.setup), merged(opened.prepared.blocks, groups)
        for row in everything(groups)[part::parts]:
            if row not in rows_read:
                values, times = measured(opened.prepared, bench, owners, row)
                file.write(json.dumps([row, *values, times]) + "\n")
                file.flush()


def measured(
    prepared: Prepared, bench: Workbench, owners: dict[str, int], row: Codes
) -> tuple[Values, list[float]]:
    """(ratio to the reference, loss), and the groups' times in ms if the row is uniform.

    Args:
        prepared: the study.
        bench: measures candidates.
        owners: group of each block, by name.
        row: index of a precision for each group.
    """
    choices = {block.name: taken(block, PRECISIONS[row[owners[block.name]]]) for block in prepared.blocks}
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
            front=UNBEATEN,
        )
        measurement = bench.measure(job, lambda _: None)
    times = [0.0] * len(row) if job.profiled else []
    for entry in measurement.audit if job.profiled else ():
        times[owners[entry.block]] += entry.time_ms
    return (measurement.latency.ratio, measurement.quality.loss), times


def taken(block: Block, precision: str) -> str:
    """The precision of a block in a group of that precision: a float if the block does not allow it."""
    choices = (precision, block.same_as(precision), "bf16", "fp32", *block.allowed)
    return next(name for name in choices if name in block.allowed)


def stored(results: Path) -> Table:
    """The table of earlier results, which keep no profiles."""
    rows = json.loads(results.read_text(encoding="utf-8"))["table"]
    return {tuple(codes): (ratio, loss, []) for *codes, ratio, loss in rows}


def read(cache: Path) -> Table:
    """The table so far, without a last line that was cut off."""
    table: Table = {}
    paths = sorted(cache.glob("table*.jsonl"))
    for line in (line for path in paths for line in path.read_text(encoding="utf-8").splitlines()):
        with contextlib.suppress(json.JSONDecodeError):
            row, ratio, loss, times = json.loads(line)
            table[tuple(row)] = (ratio, loss, times)
    return table


class Truth:
    """The measured table as a search problem. Raises SystemExit if a row is missing."""

    def __init__(self, table: Table, groups: int) -> None:
        rows = everything(groups)
        if missing := [row for row in rows if row not in table]:
            raise SystemExit(f"{len(missing)} assignments are not measured yet: resume with `measure`")
        self.blocks = tuple(Block(name=f"group{n}", nodes=(), allowed=PRECISIONS) for n in range(groups))
        self.values = {row: table[row][:2] for row in rows}
        self.anchors = np.repeat(np.arange(len(PRECISIONS))[:, None], groups, axis=1)
        self.priors = self._priors({PRECISIONS[n]: table[(n,) * groups][2] for n in range(len(PRECISIONS))})
        self.array = np.array(list(self.values.values()))
        self.corner = 1.1 * self.of(map(tuple, self.anchors.tolist())).max(axis=0)

    def of(self, rows: Iterable[Codes]) -> Floats:
        """(n, 2) ratio and loss."""
        return np.array([self.values[row] for row in rows])

    def _priors(self, uniform: dict[str, list[float]]) -> Priors:
        """The priors of a study: losses with one group alone in INT8, and profiles of the anchors."""
        count, quantised = len(self.blocks), PRECISIONS.index(QUANTISED)
        alone = [tuple(quantised * (n == i) for n in range(count)) for i in range(count)]
        return Priors(
            sensitivity={
                block.name: {QUANTISED: self.values[row][1]}
                for block, row in zip(self.blocks, alone, strict=True)
            },
            latency_ms={
                block.name: {precision: times[n] for precision, times in uniform.items()}
                for n, block in enumerate(self.blocks if uniform["fp32"] else ())
            },
            reference_latency_ms=sum(uniform["fp32"]) or 1.0,
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


def judge(name: str, truth: Truth, seeds: int, results: Path, origin: str) -> None:
    """Run all strategies, compare them, write the results.

    Args:
        name: name of the model.
        truth: the whole table.
        seeds: number of seeds for each strategy.
        results: folder for the results.
        origin: what the table consists of, in words.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    runs = {name: [figures(truth, run(truth, name, seed)) for seed in range(seeds)] for name in STRATEGIES}
    half = CHECKPOINTS.index(50)
    ours, tpe = ([entry["hypervolume"][half] for entry in runs[name]] for name in ("autoprec", "tpe"))
    wins = sum(a > b for a, b in zip(ours, tpe, strict=True))
    head = ("strategy", *(f"{count}" for count in CHECKPOINTS), "gain at 50", "share at 10", "share at 50")
    text = (
        f"{date}; {len(truth.blocks)} merged blocks; {origin}; medians of "
        f"{seeds} seeds of normalised hypervolume by evaluations, the uniform assignments counted. At 50, "
        f"autoprec's is above TPE's in {wins} of {seeds} seeds. Gain is hypervolume with these at 0 and the "
        f"best at 1; share is the part of the speed-up that is possible within a loss of {LOSS_LIMIT:g}. By "
        "`scripts/bench/search/measured_truth.py`.\n"
    )
    lines = [
        f"# The exhaustive truth of {name}: {len(truth.values)} assignments\n",
        text,
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
    ]
    for strategy, entries in runs.items():
        medians = np.median([entry["hypervolume"] for entry in entries], axis=0)
        wanted = (("gain", half), ("share", 0), ("share", half))
        rest = (np.median([entry[key][place] for entry in entries]) for key, place in wanted)
        lines.append("| " + " | ".join((strategy, *(f"{v:.3f}" for v in (*medians, *rest)))) + " |")
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}_in_{len(truth.blocks)}_truth_{date}.md").write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )
    table = [[*row, *np.round(values, 5).tolist()] for row, values in truth.values.items()]
    (results / f"{name}_in_{len(truth.blocks)}_truth_{date}.json").write_text(
        json.dumps({"blocks": [b.name for b in truth.blocks], "table": table, "runs": runs}) + "\n",
        encoding="utf-8",
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
