"""How many more trials an hour `--jobs` and `--devices` bring, and whether timings stay as good.

    python scripts/bench/parallel efficientvit_sam_l0 sam_vit_b --settings 1x1,1x8,1x12,2x8 --minutes 9

A setting is DEVICESxJOBS. Each model is exported with random weights at 512x512 and prepared once; every
setting searches a copy of that study, for the same time. Each model has a GPU and an equal share of the cores
for itself: settings of one GPU are measured for all models at a time, those of several one model after the
other. Every setting has as many cores for each GPU as the one of most GPUs. Beside each search another
process builds the reference and times it against itself, taking the device's lease like any worker: the true
ratio is 1.

`--minutes` is for everything; what is left after preparing is shared by the settings, the last ones of which
are left out where too little is left. `--prepare` stops before them: the next call finds all prepared. Writes
`parallel_MODEL_DATE.json` and `.md` after every setting. `--backend openvino --size 128 --export=--depth=2`
runs the same steps on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from figures import markdown
from lane import ROOT, Lane

sys.path.append(str(ROOT / "scripts" / "models"))
from untrained import EXPORTERS

OVERHEAD_SECONDS = 14.0
"""Time of a setting beyond its search: copying the study, and the workers' last trials."""
SHORTEST_SECONDS = 25.0


def prepare(lanes: list[Lane], given: argparse.Namespace) -> None:
    """Export and prepare all models in parallel. Exits if that fails."""
    for lane, process in [(lane, lane.export(given.size, given.export)) for lane in lanes]:
        if process is not None and process.wait():
            sys.exit(f"{lane.model}: not exported\n{lane.log('export')}")
    print(f"exported after {_since(given):.0f} s", flush=True)
    waiting = []
    for lane in lanes:
        if not (lane.folder / "prepared.json").exists():
            jobs = 1 if given.backend == "openvino" else 4
            cores = sorted(os.sched_getaffinity(0)) if len(lanes) == 1 else lane.cores
            waiting.append((lane, time.time(), lane.prepare(given.warm_up, jobs, cores)))
    for lane, start, process in waiting:
        if process.wait():
            sys.exit(f"{lane.model}: not prepared\n{lane.log('base')}")
        facts = {"first_trial_seconds": lane.first_trial(start), "seconds": round(time.time() - start, 1)}
        (lane.folder / "prepared.json").write_text(json.dumps(facts))
    print(f"prepared after {_since(given):.0f} s", flush=True)


class Results:
    """The results of each model, written after every setting."""

    def __init__(self, lanes: list[Lane], given: argparse.Namespace) -> None:
        date = datetime.now(UTC).date().isoformat()
        command = f"`scripts/bench/parallel {' '.join(sys.argv[1:])}`".partition(" --work")[0].rstrip("`")
        self._out: Path = given.out
        self._out.mkdir(parents=True, exist_ok=True)
        self._results: dict[str, dict[str, Any]] = {}
        for lane in lanes:
            facts = json.loads((lane.folder / "prepared.json").read_text())
            self._results[lane.model] = {
                "model": lane.model, "device": lane.device_name(), "cores": len(lane.cores), "date": date,
                "command": f"{command}`", "prepared_seconds": facts["seconds"],
                "first_trial_seconds": facts["first_trial_seconds"], "settings": [],
            }  # fmt: skip

    def add(self, model: str, setting: dict[str, Any]) -> None:
        """Keep one setting's figures."""
        results = self._results[model]
        results["settings"].append(setting)
        target = self._out / f"parallel_{model}_{results['date']}"
        target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        target.with_suffix(".md").write_text(markdown(results))
        print(markdown(results), flush=True)


def measure(lanes: list[Lane], given: argparse.Namespace) -> None:
    """Measure all settings, as long as there is time."""
    results = Results(lanes, given)
    settings = settings_of(given)
    steps: list[tuple[list[Lane], int, int]] = []
    for devices, jobs in settings:
        steps += [(lanes, devices, jobs)] if devices == 1 else [([lane], devices, jobs) for lane in lanes]
    every = sorted(os.sched_getaffinity(0))
    for number, (some, devices, jobs) in enumerate(steps):
        left = 60 * given.minutes - _since(given)
        seconds = min(given.longest, left / (len(steps) - number) - OVERHEAD_SECONDS)
        if seconds < SHORTEST_SECONDS:
            sys.exit(f"{left:.0f} s are left: too little for {devices}x{jobs}")
        print(f"{devices}x{jobs}: {seconds:.0f} s", flush=True)
        with ThreadPoolExecutor(len(some)) as pool:
            measured = {
                lane.model: pool.submit(
                    lane.measure, devices, jobs, seconds, repeats=given.repeats,
                    cores=lane.cores if devices == 1 else every[: devices * len(lane.cores)],
                )
                for lane in some
            }  # fmt: skip
        for model, setting in measured.items():
            results.add(model, setting.result())


def settings_of(given: argparse.Namespace) -> list[tuple[int, int]]:
    """(GPUs, jobs) of each setting."""
    pairs = [setting.split("x") for setting in given.settings.split(",")]
    return [(int(devices), int(jobs)) for devices, jobs in pairs]


def _since(given: argparse.Namespace) -> float:
    return float(time.monotonic() - given.begin)


def main() -> None:
    """Prepare once, then measure setting by setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="+", choices=EXPORTERS, metavar="MODEL")
    parser.add_argument(
        "--settings", default="1x1,1x8", help="DEVICESxJOBS, the first is what others are times of"
    )
    parser.add_argument("--minutes", type=float, default=9, help="that all of it may take")
    parser.add_argument("--longest", type=float, default=150, help="seconds of one search at most")
    parser.add_argument("--prepare", action="store_true", help="export and prepare, and no more")
    parser.add_argument("--warm-up", default="8", help="budget of the search that prepares")
    parser.add_argument("--repeats", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--export", action="append", default=[], help="for the exporter: --export=--depth=6")
    parser.add_argument("--backend", choices=("tensorrt", "openvino"), default="tensorrt")
    parser.add_argument("--work", type=Path, default=Path("build/bench_parallel"))
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    given.begin = time.monotonic()
    cores = sorted(os.sched_getaffinity(0))
    most = max(devices for devices, _ in settings_of(given))
    share = max(1, len(cores) // max(len(given.models), most))
    lanes = [
        Lane(model, given.work.absolute(), given.backend, place, cores[place * share : (place + 1) * share])
        for place, model in enumerate(given.models)
    ]
    prepare(lanes, given)
    if not given.prepare:
        measure(lanes, given)


if __name__ == "__main__":
    main()
