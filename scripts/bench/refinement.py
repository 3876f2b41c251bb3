"""How much refinement recovers: the all-INT8 point of the demo, before and after.

Measures the anchors of a copy of the study, refines `all-int8` for `--minutes`, and measures the result like
any other trial. A run that was stopped keeps its anchors. Writes `refinement_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from pathlib import Path
from typing import Any

import msgspec

from autoprec import Study
from autoprec.records import TrialRecord
from autoprec.spec import load_spec

ROOT = Path(__file__).resolve().parents[2]


def facts(trial: TrialRecord) -> dict[str, Any]:
    """Loss and speed-up of a finished trial."""
    assert trial.measurement is not None, trial
    quality = trial.measurement.quality
    return {
        "trial": trial.number,
        "loss": quality.loss,
        "loss_interval": [quality.loss_interval.low, quality.loss_interval.high],
        "logit_error": quality.logit_error,
        "speedup": 1 / trial.measurement.latency.ratio,
    }


def markdown(results: dict[str, Any]) -> str:
    """A table, and the share of the loss that was recovered."""
    lines = [
        f"# Refinement of {results['label']}, {results['date']}",
        "",
        f"{results['study']}; {results['minutes']:g} minutes on {results['cores']} CPU cores, no labels.",
        "",
        "| | mask loss | interval | speed-up |",
        "|---|---|---|---|",
    ]
    for name in ("before", "after"):
        row = results[name]
        low, high = row["loss_interval"]
        lines.append(f"| {name} | {row['loss']:.4f} | {low:.4f} to {high:.4f} | {row['speedup']:.3f} |")
    return "\n".join((*lines, "", f"Recovered: {results['recovered']:.0%} of the loss.", ""))


def main() -> None:
    """Anchors, refinement, comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=ROOT / "studies" / "demo.toml")
    parser.add_argument("--label", default="all-int8")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench_refinement")
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    options = parser.parse_args()
    spec = load_spec(options.study)
    study = Study(msgspec.structs.replace(spec, folder=str(options.work), default=False))
    if not study.database.exists():
        study.search("6")
    before = next(trial for trial in study.trials() if trial.label == options.label)
    after = study.refine(before.number, 60 * options.minutes)
    results = {
        "date": str(datetime.date.today()),
        "study": options.study.name,
        "label": options.label,
        "minutes": options.minutes,
        "cores": os.cpu_count(),
        "before": facts(before),
        "after": facts(after),
        "recovered": 1 - after.loss / before.loss,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"refinement_{datetime.date.today()}"
    target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    target.with_suffix(".md").write_text(markdown(results))
    print(markdown(results))


if __name__ == "__main__":
    main()
