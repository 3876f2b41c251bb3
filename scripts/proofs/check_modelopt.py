"""Run an export's `modelopt_quantize.py` for real, and compare its masks with those of the typed model.

    python scripts/proofs/check_modelopt.py [--study demo] --python VENV_WITH_MODELOPT/bin/python

Exports the trial with most INT8 blocks that loses little, quantises its float model with ModelOpt, and
scores both on the export's examples against its reference, with OpenVINO. The exit code is 1 if the mask
losses differ by more than 0.02. ModelOpt pins versions of onnx and ONNX Runtime, and so has an environment
of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from autoprec import Study
from autoprec.precisions import PRECISIONS

ALLOWED = 0.02
EXAMPLES = 8


def main() -> int:
    """Export, quantise, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", default="demo")
    parser.add_argument("--trial", type=int)
    parser.add_argument("--python", required=True, help="that has ModelOpt")
    given = parser.parse_args()
    study = Study.find(given.study)
    number = quantised_trial(study) if given.trial is None else given.trial
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "export"
        study.export(folder, trial=number, examples=EXAMPLES)
        subprocess.run([given.python, str(folder / "modelopt_quantize.py")], check=True)
        losses = {name: loss(folder, name) for name in ("model.onnx", "modelopt.onnx")}
    for name, lost in losses.items():
        print(f"{name} of trial {number}: mask loss {lost:.4f} against the reference")
    return int(abs(losses["model.onnx"] - losses["modelopt.onnx"]) > ALLOWED)


def quantised_trial(study: Study) -> int:
    """Number of the trial with most INT8 blocks among those that lose little."""

    def blocks(trial: Any) -> int:
        return sum(PRECISIONS[name].plain == "int8" for _, name in trial.assignment.choices)

    done = [
        (trial.measurement.quality.loss > ALLOWED, -blocks(trial), trial.number)
        for trial in study.trials()
        if trial.measurement is not None and blocks(trial)
    ]
    if not done:
        sys.exit("check_modelopt.py: no trial of the study has an INT8 block; search on")
    return min(done)[-1]


def loss(folder: Path, name: str) -> float:
    """Mask loss of a model of the export against its reference, computed by the export's own `verify.py`."""
    spec = importlib.util.spec_from_file_location("verify", folder / "verify.py")
    assert spec is not None
    assert spec.loader is not None
    verify = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(verify)
    manifest = json.loads((folder / "manifest.json").read_text())
    model, reference = verify.ExportedModel(name, manifest), verify.ExportedModel("reference.onnx", manifest)
    return float(verify.losses(manifest, model, reference)[0]["loss"])


if __name__ == "__main__":
    sys.exit(main())
