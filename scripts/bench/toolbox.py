"""What the tool-box gains: two searches of one study, with plain min-max INT8 and with variants.

Both get the same number of trials, the same strategy and the same reference. Compared are the area behind the
front (of speed against loss, up to a loss of `--worst`) and the largest speed-up at a loss of at most
`--max-loss`. A search that was stopped is resumed. Writes `toolbox_STUDY_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from autoprec import Study
from autoprec.records import TrialRecord
from autoprec.search.fronts import hypervolume
from autoprec.spec import StudySpec, load_spec

ROOT = Path(__file__).resolve().parents[2]
FLOATS = ("fp32", "fp16", "bf16")
PLAIN = ("int8+minmax",)


def definition(spec: StudySpec, name: str, precisions: tuple[str, ...], folder: Path) -> StudySpec:
    """The definition under another name, with other precisions.

    Args:
        spec: the definition to copy.
        name: of the new study.
        precisions: quantised precisions; the floats are always added.
        folder: parent of the study's folder.
    """
    replace = msgspec.structs.replace
    search = replace(spec.search, precisions=(*FLOATS, *precisions))
    return replace(spec, name=name, folder=str(folder / name), search=search, default=False)


def facts(study: Study, trials: tuple[TrialRecord, ...], worst: float, max_loss: float) -> dict[str, Any]:
    """Area and speed-up of the front, and its points.

    Args:
        study: the searched study.
        trials: its trials.
        worst: the loss at which the area of the front is cut off.
        max_loss: within which the speed-up is taken.
    """
    points = np.array([(t.measurement.latency.ratio, t.loss) for t in study.front() if t.measurement])
    good = points[points[:, 1] <= max_loss, 0]
    return {
        "precisions": study.spec.search.precisions,
        "trials": sum(trial.origin != "reused" for trial in trials),
        "failed": sum(trial.state == "failed" for trial in trials),
        "hypervolume": hypervolume(points / [1, worst], np.ones(2)),
        "speedup": float(1 / good.min()) if len(good) else 0.0,
        "anchors": {
            t.label: [round(1 / t.measurement.latency.ratio, 3), round(t.loss, 5)]
            for t in trials
            if t.label and t.measurement
        },
        "front": [[round(1 / ratio, 3), round(loss, 5)] for ratio, loss in points],
    }


def markdown(rows: dict[str, dict[str, Any]], worst: float, max_loss: float) -> str:
    """A table and the fronts."""
    lines = [
        f"# The tool-box against plain INT8, {datetime.date.today()}",
        "",
        (
            f"Area behind the front within the reference's latency and a loss of {worst:g}, as a part of "
            f"that rectangle; speed-up over the reference at a loss of at most {max_loss:g}."
        ),
        "",
        "| search | trials | area | speed-up |",
        "|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['trials']} | {row['hypervolume']:.4f} | {row['speedup']:.3f} |")
    for name, row in rows.items():
        lines += ["", f"## {name}", "", f"Precisions: {', '.join(row['precisions'])}", ""]
        lines += ["Uniform assignments (speed-up, loss):", ""]
        lines += [f"- {label}: {speed}, {loss}" for label, (speed, loss) in row["anchors"].items()]
        lines += ["", "Front: " + "; ".join(f"{speed} x at {loss}" for speed, loss in row["front"])]
    return "\n".join((*lines, ""))


def main() -> None:
    """Search twice, then write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=ROOT / "studies" / "demo.toml")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--worst", type=float, default=0.05)
    parser.add_argument("--max-loss", type=float, default=0.01)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench_toolbox")
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    options = parser.parse_args()
    spec = load_spec(options.study)
    asked = tuple(name for name in spec.search.precisions if name not in FLOATS)
    rows = {}
    for name, precisions in {"plain": PLAIN, "tool-box": asked}.items():
        study = Study(definition(spec, name, precisions, options.work))
        done = sum(t.origin != "reused" for t in study.trials()) if study.database.exists() else 0
        if done < options.trials:
            study.search(str(options.trials - done))
        rows[name] = facts(study, study.trials(), options.worst, options.max_loss)
        print(name, json.dumps(rows[name]), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"toolbox_{spec.name}_{datetime.date.today()}"
    machine = {"machine": platform.processor() or platform.machine(), "study": options.study.name}
    target.with_suffix(".json").write_text(json.dumps(machine | rows, indent=1) + "\n")
    target.with_suffix(".md").write_text(markdown(rows, options.worst, options.max_loss))


if __name__ == "__main__":
    main()
