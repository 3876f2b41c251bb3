"""How many more trials an hour `--jobs` and `--devices` bring, and whether timings stay as good.

    python scripts/bench/parallel.py sam_vit_b --settings 1x1,1x8 --seconds 150
    python scripts/bench/parallel.py sam_vit_b --settings 1x4,2x4,4x4 --seconds 110

A setting is DEVICESxJOBS. The model is exported with random weights at 512x512 and prepared once; every
setting searches a copy of that study, for the same time. Beside each search another process builds the
reference and times it against itself, taking the device's lease like any worker: the true ratio is 1. Rates
count trials that ended after the first one of every worker. Writes `parallel_MODEL_DATE.json` and `.md`
after every setting. `--backend openvino --size 256 --export=--depth=2` runs the same steps on a CPU.
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
from autoprec.store import Store

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXPORTERS = {
    "efficientvit_sam_l0": ("export_efficientvit_sam.py", "l0"),
    "sam_vit_b": ("export_sam_vit.py", "b"),
}
PRECISIONS = {
    ("tensorrt", "efficientvit_sam_l0"): ("fp32", "fp16", "bf16", "int8+gemm", "fp8+gemm"),
    ("tensorrt", "sam_vit_b"): ("fp32", "fp16", "bf16", "int8", "fp8"),
    ("openvino", "efficientvit_sam_l0"): ("fp32", "bf16", "int8"),
    ("openvino", "sam_vit_b"): ("fp32", "bf16", "int8"),
}
DEFINITION = """\
name = "base"
folder = "{folder}"

[model]
path = "models/encoder.onnx"
departure = "tell"  # random weights amplify rounding

[pipeline]
decoder = "models/decoder.onnx"

[samples]
calibration = "{data}/calibration"
evaluation = "{data}/evaluation"
calibration_limit = 2
evaluation_limit = 8
input = "image"

[blocks]
minimum = 20

[quality]
reference_limit = 0.9  # the masks of random weights mean nothing

[search]
precisions = {precisions}
reference = "fp16-safe"
finalists = 0

[backend]
name = "{backend}"
trial_seconds = 300

[timing]
seconds = 2

{options}"""
TENSORRT = """\
[backend.options]
shapes = "point_coords=1x2x2:4x2x2:8x2x2; point_labels=1x2:4x2:8x2"
"""
REPEATS = """
import json, sys
from pathlib import Path
from autoprec.backends.timing import pair
from autoprec.measurement.workbench import Workbench
from autoprec.spec import load_spec
from autoprec.study.preparation import prepare
prepared = prepare(load_spec(Path(sys.argv[1])), work=Path(sys.argv[2]))
bench = Workbench(prepared.setup)
path, timing = Path(prepared.setup.reference_path), prepared.setup.timing
print("ready", flush=True)
while True:
    with bench.build(path) as first, bench.build(path) as second, bench.lease.alone():
        first.prepare(bench.samples[0].inputs), second.prepare(bench.samples[0].inputs)
        found = pair(first, second, bench.backend, interval=timing.interval, seconds=timing.seconds,
                     minimum_rounds=timing.minimum_rounds, warmup=timing.warmup)
    interval = found.ratio_interval
    print(json.dumps([found.ratio, interval.low, interval.high]), flush=True)
"""


def export(given: argparse.Namespace, folder: Path) -> Path:
    """Encoder and decoder, unless they are there, and a definition; returns its path."""
    models = folder / "models"
    script, name = EXPORTERS[given.model]
    if not (models / "done").exists():
        command = [
            sys.executable,
            str(HERE.parent / "models" / script),
            name,
            "--out",
            str(models),
            "--size",
            str(given.size),
        ]
        subprocess.run([*command, *given.export], check=True)
        (models / "done").touch()
    path = folder / "base.toml"
    text = DEFINITION.format(
        folder="base",
        data=ROOT / "studies" / "data" / "demo",
        precisions=json.dumps(PRECISIONS[given.backend, given.model]),
        backend=given.backend,
        options=TENSORRT if given.backend == "tensorrt" else "",
    )
    path.write_text(text)
    return path


def search(definition: Path, budget: str, devices: int, jobs: int, log: Path) -> subprocess.Popen[bytes]:
    """A search in its own session."""
    command = [sys.executable, "-m", "autoprec", "search", "--study", str(definition), "--budget", budget]
    command += ["--jobs", str(jobs)]
    if devices > 1:
        command += ["--devices", ",".join(map(str, range(devices)))]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, cwd=ROOT)


def trials(definition: Path) -> list[Any]:
    """The study's trials."""
    return list(Study.load(definition).trials())


def measured(given: argparse.Namespace, base: Path, devices: int, jobs: int) -> dict[str, Any]:
    """Search a copy of the prepared study for so long, with another timing beside it."""
    name = f"d{devices}j{jobs}"
    definition = base.with_name(f"{name}.toml")
    definition.write_text(base.read_text().replace('folder = "base"', f'folder = "{name}"'))
    study = definition.with_suffix("")
    shutil.rmtree(study, ignore_errors=True)
    shutil.copytree(base.with_suffix(""), study)
    before = len(trials(definition))
    log, work = base.with_name(f"{name}.log"), base.with_name(f"{name}-work")
    work.mkdir(exist_ok=True)
    beside = subprocess.Popen(
        [sys.executable, "-c", REPEATS, str(definition), str(work)],
        stdout=subprocess.PIPE, stderr=log.open("ab"), text=True, cwd=ROOT,
    ) if given.repeats else None  # fmt: skip
    if beside is not None and beside.stdout is not None:
        print(f"{name}: {beside.stdout.readline().strip()}", flush=True)
    process = search(definition, f"{given.seconds:.0f}s", devices, jobs, log)
    try:
        code = process.wait(given.seconds + 150)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    pairs = []
    if beside is not None and beside.stdout is not None:
        beside.kill()
        pairs = [json.loads(line) for line in beside.stdout.read().splitlines() if line.startswith("[")]
    found = [t for t in trials(definition)[before:] if t.end and t.state != "running"]
    return {
        "devices": devices,
        "jobs": jobs,
        "exit_code": code,
        **rates(found, devices * jobs),
        **spread(pairs),
    }


def rates(found: list[Any], workers: int) -> dict[str, Any]:
    """Trials an hour once every worker has done its first, and where a trial's time goes."""
    ends = sorted(datetime.fromisoformat(trial.end).timestamp() for trial in found)
    done = [t.measurement for t in found if t.measurement is not None]
    steady = 0.0
    if len(ends) > workers + 1:
        steady = 3600 * (len(ends) - workers) / (ends[-1] - ends[workers - 1])
    stages = ("rewrite", "build", "run", "timing", "total")
    return {
        "trials": len(found),
        "failed": sum(t.state == "failed" for t in found),
        "failures": sorted({t.failure.kind for t in found if t.failure is not None}),
        "trials_an_hour": round(steady, 1),
        "median_seconds": {
            stage: round(statistics.median(getattr(m.seconds, stage) for m in done), 2) if done else None
            for stage in stages
        },
        "by_worker": {
            name: sum(t.worker == name for t in found) for name in sorted({t.worker for t in found})
        },
    }


def spread(pairs: list[list[float]]) -> dict[str, Any]:
    """How far from 1 the reference timed against itself was."""
    off = sorted(abs(ratio - 1) for ratio, _, _ in pairs)
    if not off:
        return {"against_itself": 0}
    return {
        "against_itself": len(off),
        "median_off": round(statistics.median(off), 5),
        "worst_off": round(off[-1], 5),
        "intervals_with_1": sum(low <= 1 <= high for _, low, high in pairs),
    }


def markdown(known: dict[str, Any]) -> str:
    """The results for people."""
    head = (
        "devices", "jobs", "trials", "failed", "trials an hour", "times the first", "build s", "rewrite s",
        "timing s", "reference against itself: median off", "worst off", "of",
    )  # fmt: skip
    first = known["settings"][0]["trials_an_hour"] if known["settings"] else 0
    rows: list[tuple[object, ...]] = [head, ("---",) * len(head)]
    for row in known["settings"]:
        gain = f"{row['trials_an_hour'] / first:.2f}" if first else "-"
        seconds = row["median_seconds"]
        counts = row["devices"], row["jobs"], row["trials"], row["failed"], row["trials_an_hour"], gain
        off = row.get("median_off", "-"), row.get("worst_off", "-"), row["against_itself"]
        rows.append((*counts, seconds["build"], seconds["rewrite"], seconds["timing"], *off))
    lines = [
        f"# Workers beside one another: {known['model']} on {known['device']}",
        "",
        f"{known['command']}, {known['date']}; {known['cores']} cores.",
        "",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prepare once, then measure setting by setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", choices=EXPORTERS)
    parser.add_argument(
        "--settings", default="1x1,1x8", help="DEVICESxJOBS, the first is what others are times of"
    )
    parser.add_argument("--seconds", type=float, default=150, help="of each search")
    parser.add_argument("--warm-up", default="6", help="budget of the search that prepares")
    parser.add_argument("--repeats", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--export", action="append", default=[], help="for the exporter: --export=--depth=6")
    parser.add_argument("--backend", choices=("tensorrt", "openvino"), default="tensorrt")
    parser.add_argument("--work", type=Path, default=Path("build/bench_parallel"))
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    folder = (given.work / given.model).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    base = export(given, folder)
    cores = len(os.sched_getaffinity(0))
    jobs = 1 if given.backend == "openvino" else 4
    code = search(base, given.warm_up, 1, jobs, folder / "base.log").wait()
    print(f"prepared in {time.monotonic() - begin:.0f} s, exit code {code}", flush=True)
    if code:
        sys.exit((folder / "base.log").read_text()[-3000:])
    known: dict[str, Any] = {
        "model": given.model,
        "device": _device(base),
        "cores": cores,
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"`scripts/bench/parallel.py {' '.join(sys.argv[1:])}`",
        "settings": [],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    target = given.out / f"parallel_{given.model}_{given.settings.replace(',', '_')}_{known['date']}"
    for setting in given.settings.split(","):
        devices, jobs = map(int, setting.split("x"))
        known["settings"].append(measured(given, base, devices, jobs))
        target.with_suffix(".json").write_text(json.dumps(known, indent=1) + "\n")
        target.with_suffix(".md").write_text(markdown(known))
        print(markdown(known), flush=True)


def _device(definition: Path) -> str:
    with Store.open(definition.with_suffix("") / "study.db", read_only=True) as store:
        return store.identity(definition.stem).fingerprint.device


if __name__ == "__main__":
    main()
