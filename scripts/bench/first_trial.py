"""How long it takes until the first trial, and until the strategy's first proposal: this tree beside another.

    git worktree add /tmp/older COMMIT
    python scripts/bench/first_trial.py demo --against /tmp/older
    python scripts/bench/first_trial.py sam_vit_s --backend tensorrt --against build/older

Each tree prepares and searches the same new study, in turn, `--times` times, from an empty folder and with
empty caches; a `--against` tree need only hold the package. `demo` is the demo's own definition; `sam_vit_s`
is a ViT-S encoder with random weights at 512x512 and the demo's images, and so are the other models. Figures
are seconds from the start of the command, read off the study's trials: a trial begins when its candidate is
built, which for the first ones is before the study can store them; the first is told when the command prints
its line. With a budget in time (`--budget 8m`) also its share before the first proposal. Versions before 0.2
record the first trials as begun when they were stored. Writes `first_trial_MODEL_DATE.md` and `.json`, which
also has when each line was printed, and when each stage was logged.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoprec import Study
from autoprec.spec import parse_budget

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts" / "models"))
import untrained  # noqa: E402 - of another folder of scripts

FIGURES = (
    "first trial begins",
    "first trial ends",
    "first trial is told",
    "last anchor ends",
    "first proposal begins",
)
_PAUSE_SECONDS = 0.1


def definition(given: argparse.Namespace, work: Path, *, knows_departures: bool) -> str:
    """The text of the study's definition; exports the network first, unless it exists."""
    if given.model == "demo":
        text = (ROOT / "studies" / "demo.toml").read_text()
        return text.replace('"models/', f'"{ROOT}/studies/models/').replace(
            '"data/', f'"{ROOT}/studies/data/'
        )
    models = work / "models"
    if not (models / "decoder.onnx").exists():
        subprocess.run(untrained.export_command(given.model, models, given.size, given.export), check=True)
    more = {"model": untrained.DEPARTURE} if knows_departures else {}
    return untrained.definition(given.model, given.backend, f"{models}/", more)


def measured(tree: Path, work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Search a new study with a tree's package for the budget; returns the seconds until each figure."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    path = work / "study.toml"
    # A tree from before 0.2 refuses the key `departure`.
    knows = any("departure" in file.read_text() for file in (tree / "autoprec" / "spec").glob("*.py"))
    path.write_text(definition(given, work.parent, knows_departures=knows))
    # Without this tree: the other one's package must be found, not this one's behind it.
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and Path(p) != ROOT]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tree), *others]),
        "XDG_CACHE_HOME": str(work / "cache"),
    }
    command = [sys.executable, "-m", "autoprec", "search", "--study", str(path), "--budget", given.budget]
    command += ["--jobs", str(given.jobs)] if given.jobs else []
    start = time.time()
    with (work / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env=environment, cwd=tree, start_new_session=True
        )
        steps: list[tuple[float, str]] = []
        while process.poll() is None and time.time() - start < given.seconds:
            time.sleep(_PAUSE_SECONDS)
            lines = (work / "said.txt").read_text(errors="replace").rpartition("\n")[0].splitlines()
            steps += [(round(time.time() - start, 1), line) for line in lines[len(steps) :]]
        code = process.poll()
        if code is None:
            # The whole session: workers of a killed search would go on using the device that the next tree
            # is measured on.
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
    if not (work / "study" / "study.db").exists():
        sys.exit(f"{tree}: no study (exit code {code})\n{(work / 'said.txt').read_text()[-2000:]}")
    told = next((seconds for seconds, line in steps if line.startswith("trial 0: ")), None)
    trials = Study.load(path).trials()
    anchors = [trial for trial in trials if trial.origin == "anchor" and trial.end]
    proposed = [trial for trial in trials if trial.origin == "search"]
    moments = (
        min((t.start for t in trials), default=""),
        min((t.end for t in trials if t.end), default=""),
        "",
        max((t.end for t in anchors), default=""),
        min((t.start for t in proposed), default=""),
    )
    marks = {
        name: round(datetime.fromisoformat(moment).timestamp() - start, 1) if moment else None
        for name, moment in zip(FIGURES, moments, strict=True)
    }
    stages = logged(work / "study" / "logs", start)
    return {
        "exit_code": code, "trials": len(trials), **marks, "first trial is told": told, "steps": steps,
        "log": stages,
    }  # fmt: skip


def logged(folder: Path, start: float) -> list[tuple[float, str]]:
    """What the search has logged, its workers' stages too, with seconds from the start of the command."""
    lines = [line for file in sorted(folder.glob("*.log")) for line in file.read_text().splitlines()]
    stages = []
    for line in lines:
        try:
            begun = datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f")
        except ValueError:  # a further line of a message
            continue
        stages.append((round(begun.timestamp() - start, 1), line[24:]))
    return stages


def markdown(times: dict[str, Any]) -> str:
    """Medians side by side."""
    rows = [("seconds until", *times["trees"], "share"), ("---",) * (len(times["trees"]) + 2)]
    for name in FIGURES:
        middle = []
        for runs in times["trees"].values():
            done = [run[name] for run in runs if run[name] is not None]
            middle.append(statistics.median(done) if done else None)
        first, last = middle[0], middle[-1]
        share = f"{first / last:.2f}" if first and last else "-"
        rows.append((name, *("-" if value is None else f"{value:.1f}" for value in middle), share))
        if name == FIGURES[-1] and times["budget_s"]:
            spent = ("-" if value is None else f"{value / times['budget_s']:.0%}" for value in middle)
            rows.append(("first proposal begins, of the budget", *spent, "-"))
    about = f"{times['command']}, {times['date']}; {times['cores']} cores, medians of {times['times']}."
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"# Until the first trial: {times['model']}\n\n{about}\n\n{table}\n"


def main() -> None:
    """Each tree in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", choices=("demo", *untrained.EXPORTERS))
    parser.add_argument("--against", type=Path, help="another tree of autoprec")
    parser.add_argument("--label", default="before", help="what that one is called in the table")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--budget", default="8", help="of each search")
    parser.add_argument("--seconds", type=float, default=280, help="that one search may take")
    parser.add_argument("--jobs", type=int, help="of each search; by default by cores and memory")
    parser.add_argument("--backend", choices=("openvino", "tensorrt"), default="openvino")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--export", action="append", default=[], help="for the exporter: --export=--depth=6")
    parser.add_argument("--work", type=Path, default=Path("build/bench_first_trial"))
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    work = (given.work / given.model).absolute()
    work.mkdir(parents=True, exist_ok=True)
    date = datetime.now(UTC).date().isoformat()
    trees = {"now": ROOT} | ({given.label: given.against.absolute()} if given.against else {})
    command = " ".join(["scripts/bench/first_trial.py", *sys.argv[1:]]).partition(" --work")[0]
    results: dict[str, Any] = {
        "model": given.model, "command": f"`{command}`", "date": date, "times": given.times,
        "budget_s": parse_budget(given.budget).seconds,
        "cores": len(os.sched_getaffinity(0)), "trees": {label: [] for label in trees},
    }  # fmt: skip
    given.out.mkdir(parents=True, exist_ok=True)
    target = given.out / f"first_trial_{given.model}_{date}"
    for _ in range(given.times):
        for label, tree in trees.items():
            results["trees"][label].append(measured(tree, work / label, given))
            target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
            target.with_suffix(".md").write_text(markdown(results))
            print(markdown(results), flush=True)


if __name__ == "__main__":
    main()
