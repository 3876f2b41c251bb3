"""autoprec beside its peers, on trained models of other people's making, before one judge.

    PYTHONPATH=scripts/models python scripts/bench/peers --nncf VENV/bin/python --modelopt OTHER/bin/python

For each model: fetch it and its images, search for `--trials` trials, quantise it with NNCF (presets and
accuracy control), ONNX Runtime and ModelOpt, each in an environment of its own, and measure them all: on
OpenVINO, one thread, in turn with the FP32 reference, with autoprec's metric. What is done is kept in
`build/bench_peers`, so that a run that was stopped is resumed. Writes `peers_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
from judge import Judge, Point
from models import HEAVY, MODELS, fetch
from quantize import PEERS
from table import LOSSES, best, markdown

from autoprec import Study
from autoprec.records import TrialRecord
from autoprec.samples import load_samples
from autoprec.study.events import Quiet
from autoprec.study.preparation import Prepared
from autoprec.study.session import Parallel, session

ROOT = Path(__file__).resolve().parents[3]
KINDS: tuple[Literal["calibration", "evaluation"], ...] = ("calibration", "evaluation")
LIMIT_S = 900.0
"""A peer that takes longer is stopped, and reported so."""


def main() -> int:
    """Fetch, search, quantise, judge, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = [name for name in MODELS if name not in HEAVY]
    parser.add_argument("models", nargs="*", default=usual, help=", ".join(MODELS))
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--nncf", default=sys.executable, help="a Python that has NNCF and ONNX Runtime")
    parser.add_argument("--modelopt", default=sys.executable, help="a Python that has ModelOpt")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench_peers")
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    pythons = {peer: given.modelopt if peer == "modelopt" else given.nncf for peer in given.peers}
    results = {name: points(name, given.work, given.trials, pythons) for name in given.models}
    target = given.out / f"peers_{datetime.date.today()}"
    target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    target.with_suffix(".md").write_text(markdown(results, given.trials))
    print(markdown(results, given.trials))
    return 0


def points(name: str, work: Path, trials: int, pythons: dict[str, str]) -> dict[str, Point]:
    """The judged points of one model, by name.

    Args:
        name: of the model, a key of `MODELS`.
        work: folder for studies and quantised models.
        trials: how many trials the search should have; missing ones are searched first.
        pythons: by peer, the interpreter of its environment.
    """
    study = Study.load(fetch(name, work))
    done = sum(trial.origin != "reused" for trial in study.trials()) if study.database.exists() else 0
    if done < trials:
        print(f"{name}: {trials - done} trials", flush=True)
        study.search(str(trials - done))
    judged: dict[str, Point] = {}
    with session(study.spec, Quiet(), Parallel(), checks=False) as opened:
        judge = Judge(opened.prepared.setup)
        for peer, path in quantised(name, work / name, opened.prepared, judge, pythons).items():
            judged[peer] = judge.point(path) if isinstance(path, Path) else {"failure": path}
            if peer.startswith("nncf") and isinstance(path, Path):
                judged[f"{peer}, BF16 hint"] = judge.point(path, hint="bf16")
            print(name, peer, judged[peer], flush=True)
        for label, trial in ours(study).items():
            candidate = opened.prepared.rewrite(trial.assignment, work / name / "judged.onnx")
            judged[label] = judge.point(Path(candidate.model_path)) | {"trial": trial.number}
            print(name, label, judged[label], flush=True)
    return judged


def ours(study: Study) -> dict[str, TrialRecord]:
    """The anchors, and the fastest trials within each loss."""
    measured = [trial for trial in study.trials() if trial.measurement]
    anchors = {
        f"anchor {trial.label}": trial for trial in measured if trial.label and trial.origin != "reused"
    }
    picks = {f"autoprec within {loss:g}": best(measured, loss) for loss in LOSSES}
    return anchors | {label: trial for label, trial in picks.items() if trial is not None}


def quantised(
    name: str, folder: Path, prepared: Prepared, judge: Judge, pythons: dict[str, str]
) -> dict[str, Path | str]:
    """The peers' models, made once, or the reason why there is none.

    Args:
        name: name of the model.
        folder: folder of its files.
        prepared: its prepared study.
        judge: has the reference's masks.
        pythons: the Python of each peer.
    """
    models: dict[str, Path | str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data.npz"
        for peer, python in pythons.items():
            target = models[peer] = folder / f"{peer}{'.xml' if peer.startswith('nncf') else '.onnx'}"
            if target.exists():
                continue
            if not data.exists():
                write_data(name, data, prepared, judge)
            command = (python, str(Path(__file__).with_name("quantize.py")), peer)
            # A copy, because ModelOpt modifies the file that it is given.
            model = shutil.copy(folder / "model.onnx", scratch)
            paths = (str(model), str(data), str(folder / peer))
            try:
                ended = subprocess.run(
                    (*command, *paths), check=False, timeout=LIMIT_S, capture_output=True, text=True
                )
            except subprocess.TimeoutExpired:
                models[peer] = f"took longer than {LIMIT_S:g} s"
                continue
            if not target.exists():
                models[peer] = (ended.stderr.strip().splitlines() or ["wrote nothing"])[-1]
    return models


def write_data(name: str, path: Path, prepared: Prepared, judge: Judge) -> None:
    """Write what the peers calibrate and validate on: the images of the search.

    Args:
        name: of the model, a key of `MODELS`.
        path: of the `.npz` file to write.
        prepared: the study's preparation.
        judge: computes the reference's masks.
    """
    setup, model = prepared.setup, MODELS[name]
    sets = (load_samples(setup.samples, kind, setup.shapes) for kind in KINDS)
    images = [np.stack([sample.inputs[model.input][0] for sample in samples]) for samples in sets]
    masks = np.stack([logits > model.threshold for logits in judge.masks()])
    np.savez(
        path,
        calibration=images[0],
        validation=images[1],
        masks=masks,
        threshold=np.float64(model.threshold),
        drop=np.float64(0.01),
    )


if __name__ == "__main__":
    sys.exit(main())
