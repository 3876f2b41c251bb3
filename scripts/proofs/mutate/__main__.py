"""Do the tests bite? Makes random mutants where a fault would be silent, and reports the share that tests
kill.

    python scripts/proofs/mutate --count 300 --jobs 14 --minutes 9     # on 16 cores
    python scripts/proofs/mutate --count 20 --area strategy --seed 7
    python scripts/proofs/mutate --draw mutants.json       # here, and where cosmic-ray is not:
    python scripts/proofs/mutate --mutants mutants.json --outcomes outcomes.jsonl    # run again, it resumes

Drawing needs `pip install cosmic-ray`. First every file of tests runs without a mutant: tests that fail are
left out, and times and (from Python 3.12 on) executed lines are recorded. Then each mutant meets the tests
that run its lines, nearest importers first, and then all others, until one fails; a mutant that hangs where
the same test ended without it counts as killed. Writes the share killed in each area, and the change of every
survivor. Mutants of files that have changed since they were drawn are reported, and left out.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

import msgspec
from choosing import imports_of, nearest, test_files
from drawing import AREAS, ROOT, Mutant, draw
from trying import Baseline, Bench, Outcome


class Benches:
    """A pool of benches, one for each job."""

    def __init__(self, folder: Path, count: int) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self._free: SimpleQueue[Bench] = SimpleQueue()
        for number in range(count):
            self._free.put(Bench(folder / str(number), cores[number % len(cores)]))

    @contextmanager
    def lent(self) -> Iterator[Bench]:
        """Borrow a bench that nobody else is using."""
        bench = self._free.get()
        try:
            yield bench
        finally:
            self._free.put(bench)


def run(mutants: Sequence[Mutant], arguments: argparse.Namespace) -> list[Outcome]:
    """Try mutants in parallel, until all are done or the time is up."""
    late = time.monotonic() + 60 * arguments.minutes
    imports = imports_of()
    with (
        tempfile.TemporaryDirectory(prefix="autoprec-mutants-") as text,
        ThreadPoolExecutor(arguments.jobs) as pool,
    ):
        benches = Benches(Path(text), arguments.jobs)

        def observe(test: str) -> tuple[str, Baseline]:
            with benches.lent() as bench:
                return test, bench.baseline(test)

        def attempt(mutant: Mutant) -> Outcome:
            if not mutant.is_of_this_tree:
                print(f"strange: {mutant.path} {mutant.operator} was drawn from another revision", flush=True)
                return Outcome(mutant, "strange")
            left = late - time.monotonic()
            if left < 10:
                return Outcome(mutant, "untried")
            with benches.lent() as bench:
                changed = mutant.lines()
                running = {test for test, baseline in baselines.items() if baseline.ran(mutant.path, changed)}
                tests = nearest(mutant.path, imports, seconds, running)
                outcome = bench.try_mutant(mutant, tests, failing, min(arguments.seconds, left))
            print(f"{outcome.fate}: {mutant.path} {mutant.operator} {outcome.killer}", flush=True)
            if arguments.outcomes and outcome.fate != "untried":
                with lock, arguments.outcomes.open("ab") as file:
                    file.write(msgspec.json.encode(outcome) + b"\n")
            return outcome

        lock = Lock()
        earlier = {outcome.mutant: outcome for outcome in _earlier(arguments.outcomes)}
        baselines = _kept(arguments.baseline) or dict(pool.map(observe, test_files()))
        if arguments.baseline:
            arguments.baseline.write_bytes(msgspec.json.encode(baselines))
        seconds = {test: baseline.seconds for test, baseline in baselines.items()}
        failing = [name for baseline in baselines.values() for name in baseline.failing]
        print(f"{len(failing)} tests fail without a mutant: {failing[:20]}", flush=True)
        return list(pool.map(lambda mutant: earlier.get(mutant) or attempt(mutant), mutants))


def page(outcomes: Sequence[Outcome], arguments: argparse.Namespace) -> str:
    """The results as Markdown."""
    tried = [outcome for outcome in outcomes if outcome.fate not in ("untried", "strange")]
    strange = Counter(outcome.mutant.path for outcome in outcomes if outcome.fate == "strange")
    fates = Counter((outcome.mutant.area, outcome.fate) for outcome in tried)
    dead = sum(outcome.fate != "survived" for outcome in tried)
    command = (
        f"python scripts/proofs/mutate --count {arguments.count} --seed {arguments.seed} "
        f"--seconds {arguments.seconds:g}"
    )
    share = f"{dead} of {len(tried)} mutants ({dead / max(1, len(tried)):.0%})"
    left = len(outcomes) - len(tried) - strange.total()
    untried = f"; {left} more were not tried in time" * (left > 0)
    others = ", ".join(f"`{path}` ({count})" for path, count in strange.items())
    revised = f"Left out, for their files are of another revision than what they were drawn from: {others}."
    lines = [
        f"# Random mutants, {datetime.date.today().isoformat()}",
        "",
        f"`{command}`: the tests kill {share}{untried}.",
        "",
        *([revised, ""] if strange else []),
        "| area | killed | hung | survived |",
        "|---|---|---|---|",
        *(
            f"| {area} | {fates[area, 'killed']} | {fates[area, 'hung']} | {fates[area, 'survived']} |"
            for area in AREAS
        ),
        "",
        "## Survivors",
        "",
    ]
    for outcome in tried:
        if outcome.fate == "survived":
            lines += [f"`{outcome.mutant.path}`", "", "```diff", outcome.mutant.diff(), "```", ""]
    return "\n".join(lines)


def main() -> None:
    """Draw, run, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=90.0, help="for one mutant's tests")
    parser.add_argument("--minutes", type=float, default=600.0, help="for everything")
    parser.add_argument("--area", action="append", choices=list(AREAS), help="these alone; may be repeated")
    parser.add_argument("--draw", type=Path, help="draw only, into this file")
    parser.add_argument("--mutants", type=Path, help="take those that were drawn into this file")
    parser.add_argument("--outcomes", type=Path, help="keep there what became of each; a later run resumes")
    parser.add_argument("--baseline", type=Path, help="keep there how tests run without a mutant")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.mutants:
        mutants = msgspec.json.decode(arguments.mutants.read_bytes(), type=list[Mutant])
    else:
        mutants = draw(arguments.count, arguments.area or list(AREAS), random.Random(arguments.seed))
    if arguments.draw:
        arguments.draw.write_bytes(msgspec.json.encode(mutants))
        return
    text = page(run(mutants, arguments), arguments)
    today = datetime.date.today().isoformat()
    target = arguments.output or ROOT / "studies" / "results" / f"mutants_{today}.md"
    target.write_text(text, encoding="utf-8")
    print(target)


def _earlier(path: Path | None) -> list[Outcome]:
    if path is None or not path.exists():
        return []
    return [msgspec.json.decode(line, type=Outcome) for line in path.read_bytes().splitlines()]


def _kept(path: Path | None) -> dict[str, Baseline]:
    if path is None or not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Baseline])


if __name__ == "__main__":
    main()
