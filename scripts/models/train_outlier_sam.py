"""EfficientViT-SAM L0, made so that plain INT8 ruins it as it ruins published ones, and searched.

    python scripts/models/train_outlier_sam.py --minutes 4 --trials 40 --seconds 540

On one machine, best with a GPU: train encoder and decoder on drawn scenes while the channels of late blocks
are spread until plain INT8 costs `--target` of mean IoU; save the checkpoint; `autoprec init --recipe
efficientvit-sam --checkpoint` exports it; a night on the CPU with OpenVINO, and one on the GPU where
TensorRT-RTX is. Writes `outlier_sam_l0_DATE.{json,md}`, the front and masks as pictures, into `--out`. Where
the checkpoint is there, training is left out, and searches are resumed.
Needs `pip install '.[efficientvit-sam]'`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from autoprec import Study
from autoprec.records import TrialRecord
from demo_model.data import write_data
from outlier_sam.training import Plan, train

ROOT = Path(__file__).resolve().parents[2]
NAME = "outlier_sam_l0"
LOSSES = (0.005, 0.01, 0.02, 0.04, 0.08)
CHOICES = {
    "openvino": ("fp32", "bf16", "int8", "int8+smooth+float-add+adaround+bias"),
    "tensorrt": ("fp32", "fp16", "bf16", "int8+gemm", "fp8+gemm"),
}
"""TensorRT-RTX 1.6 refuses INT8 convolutions, and its FP8 ones are 60 times as slow as FP16 (H200)."""
ADDED = "\n[timing]\nseconds = 2\n"
REFERENCES = {"openvino": ("fp32",), "tensorrt": ("fp16-safe", "bf16", "fp32")}
"""References to try in turn: the next one if a search finds one unfit, such as one that is not finite."""
KEPT = 100.0
"""Seconds kept for pictures, at the end of each search's share of the time."""


def main() -> None:
    """Train, export, search, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=4.0, help="of training")
    parser.add_argument("--seconds", type=float, default=3600.0, help="for everything")
    parser.add_argument("--trials", type=int, default=40, help="of each night, with those that are there")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32, help="scenes, of four prompts each")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--target", type=float, default=0.4, help="mean IoU that plain INT8 is to cost")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=16, help="to calibrate on, and to score on")
    parser.add_argument("--threads", type=int, default=0, help="of OpenVINO; 0 leaves it the definition's")
    parser.add_argument("--engines", nargs="*", default=list(CHOICES), choices=CHOICES)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / NAME)
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    begin = time.monotonic()
    for folder in (given.work, given.out):
        folder.mkdir(parents=True, exist_ok=True)
    facts = trained(given)
    if not (given.work / "data" / "evaluation" / "prompts.json").exists():
        write_data(given.work / "data", given.images, given.size // 256)
    engines = [e for e in given.engines if e != "tensorrt" or importlib.util.find_spec("tensorrt_rtx")]
    results: dict[str, Any] = {}
    for number, engine in enumerate(engines):
        left = given.seconds - (time.monotonic() - begin)
        results[engine] = night(given, engine, left / (len(engines) - number))
        write(given, facts, results)


def trained(given: argparse.Namespace) -> dict[str, float]:
    """Train unless the checkpoint exists; returns what training reached."""
    checkpoint, facts = given.work / "l0.pt", given.work / "training.json"
    if not checkpoint.exists():
        plan = Plan(
            given.device, given.minutes, given.seed, given.size, given.batch, given.rate, given.target
        )
        model, reached = train(plan)
        torch.save(model.state_dict(), checkpoint)
        facts.write_text(json.dumps(reached))
        print(reached, flush=True)
    kept: dict[str, float] = json.loads(facts.read_text())
    return kept


def night(given: argparse.Namespace, engine: str, seconds: float) -> dict[str, Any]:
    """Search with one engine for its share of time; returns anchors, and the fastest within each loss."""
    begin, measured, reference = time.monotonic(), list[TrialRecord](), ""
    for reference in REFERENCES[engine]:
        definition = defined(given, engine, reference)
        if measured := searched(definition, given.trials, seconds - KEPT - (time.monotonic() - begin)):
            pictured(given, engine, definition)
            break
    rows = {f"anchor {t.label}": row(t) for t in measured if t.label}
    for loss in LOSSES:
        within = [t for t in measured if t.loss <= loss]
        if within:
            rows[f"autoprec within {loss:g}"] = row(min(within, key=lambda t: t.latency_ms))
    spent = round(time.monotonic() - begin)
    return {"trials": len(measured), "seconds": spent, "reference": reference, "points": rows}


def defined(given: argparse.Namespace, engine: str, reference: str) -> Path:
    """The study's definition, which `init` writes; each reference has a folder of its own."""
    folder: Path = given.work / f"{engine}-{reference}"
    folder.mkdir(exist_ok=True)
    if not (definition := folder / "studies" / "l0.toml").exists():
        sets = [f"--{name}={given.work / 'data' / name}" for name in ("calibration", "evaluation")]
        run(folder, "init", "--recipe=efficientvit-sam", f"--checkpoint={given.work / 'l0.pt'}", *sets)
    if ADDED not in (text := definition.read_text()):  # also if an earlier run ended within `init`
        definition.write_text(edited(text, engine, reference, given.threads))
    return definition


def searched(definition: Path, trials: int, seconds: float) -> list[TrialRecord]:
    """Search until the study holds `trials` trials, or for `seconds`; returns the measured trials."""
    missing = trials - len(stored(definition))
    if missing > 0:
        program = (sys.executable, "-m", "autoprec", "search", "--study", str(definition))
        with subprocess.Popen((*program, "--budget", str(missing)), cwd=definition.parents[1]) as search:
            try:
                search.wait(max(seconds, 1.0))
            except subprocess.TimeoutExpired:
                search.send_signal(2)  # it finishes the trial in progress
    return [trial for trial in stored(definition) if trial.measurement]


def stored(definition: Path) -> list[TrialRecord]:
    """The study's own trials so far; reused ones are left out."""
    study = Study.find(str(definition))
    kept = study.trials() if study.database.exists() else ()
    return [trial for trial in kept if trial.origin != "reused"]


def pictured(given: argparse.Namespace, engine: str, definition: Path) -> None:
    """Draw the front and masks, as far as there is anything to show."""
    front = given.out / f"{NAME}_{engine}_front.png"
    report = (sys.executable, "-m", "autoprec", "report", str(front), "--png", f"--study={definition}")
    subprocess.run(report, check=False, cwd=definition.parent)
    pictures, script = given.work / f"{engine}-pictures", ROOT / "scripts" / "docs" / "picture_readme.py"
    pictures.mkdir(exist_ok=True)
    command = (sys.executable, str(script), "--study", str(definition), "--out", str(pictures))
    subprocess.run(command, check=False)
    for picture in pictures.glob("*masks.png"):
        picture.replace(given.out / f"{NAME}_{engine}_masks.png")


def row(trial: TrialRecord) -> dict[str, float]:
    """Speed-up over the reference, and loss."""
    assert trial.measurement is not None
    return {
        "trial": trial.number,
        "speedup": round(1 / trial.measurement.latency.ratio, 3),
        "loss": round(trial.loss, 4),
    }


def edited(text: str, engine: str, reference: str, threads: int) -> str:
    """The definition that `init` wrote, with the engine's precisions.

    Args:
        text: text of the definition.
        engine: key of the engine in `CHOICES`.
        reference: precision of the reference.
        threads: of OpenVINO; 0 keeps the default.
    """
    told = f'precisions = {json.dumps(list(CHOICES[engine]))}\nreference = "{reference}"'
    text = re.sub(r"precisions = \[[^\]]*\]", told, text)
    text = re.sub(r"(\[backend\]\s*)name = \"\w+\"", rf'\1name = "{engine}"', text)
    shapes = "point_coords=1x2x2:4x2x2:8x2x2; point_labels=1x2:4x2:8x2"
    options = {"openvino": f"threads = {threads}" if threads else "", "tensorrt": f'shapes = "{shapes}"'}
    return f"{text}\n[backend.options]\n{options[engine]}\n{ADDED}"


def run(folder: Path, *arguments: str) -> None:
    """Run an autoprec command in a folder."""
    subprocess.run((sys.executable, "-m", "autoprec", *arguments), check=True, cwd=folder)


def _streams(facts: dict[str, float]) -> str:
    """A sentence on what was added after the training, if anything."""
    if not facts.get("streams"):
        return ""
    return (
        f"Of that, {facts['int8_lost_by_blocks']:.3f} by these blocks; the rest by channels of the residual "
        f"streams of stages 3 and 4, spread after the training (log-normal, {facts['streams']:.2f}) so that "
        "the network computes the same. "
    )


def write(given: argparse.Namespace, run: dict[str, float], results: dict[str, Any]) -> None:
    """Write the results so far, as JSON and as Markdown."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    facts = {"made": run, "device": device, "size": given.size, "seed": given.seed, "results": results}
    target = given.out / f"{NAME}_{datetime.datetime.now(datetime.UTC).date()}"
    target.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    told = (
        f"Trained on drawn scenes at {given.size}x{given.size} for {run['steps']:g} steps (GPU: {device}), "
        "while the channels of late blocks were spread on purpose, in the proportions of the published "
        f"sensitivities (`scripts/models/train_outlier_sam.py`, seed {given.seed}). Mean IoU with the drawn "
        f"masks {run['miou']:.3f}; plain INT8, simulated in PyTorch, lowers it by {run['int8_lost']:.3f}. "
        f"{_streams(run)}The largest value in it is {run['largest']:.0f}. Not the published checkpoint. "
        "Speed-up over the reference / mask loss against it."
    )
    lines = ["# EfficientViT-SAM L0, made to suffer from INT8 as published ones do", "", told]
    for engine, figures in results.items():
        head = f"{figures['trials']} trials in {figures['seconds']} s, reference {figures['reference']}"
        lines += ["", f"## {engine}: {head}"]
        lines += ["", "| | speed-up / loss |", "|---|---|"]
        lines += [
            f"| {name} | {p['speedup']:.2f} / {p['loss']:.4f} |" for name, p in figures["points"].items()
        ]
        for picture in ("front", "masks"):
            if (file := given.out / f"{NAME}_{engine}_{picture}.png").exists():
                lines += ["", f"![{picture}]({file.name})"]
    target.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
