"""Prove the code path for full TensorRT on a GPU, in front of TensorRT-RTX's kernels.

    python scripts/proofs/prove_full_tensorrt.py tests demo sam_vit_b

Full TensorRT's libraries come from NVIDIA alone, but its API is known from its bindings: the mask in
`tests/backends/tensorrt/mask` makes TensorRT-RTX look like it, so that the adapter takes the same path as
there. Runs the GPU tests behind the masks, and searches that are killed once, resumed, exported and verified.
Writes `full_tensorrt_tests_DATE.json` and `.md`, and what `prove_on_gpu` writes for the searches.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MASK = ROOT / "tests" / "backends" / "tensorrt" / "mask"
VERSIONS = ("10.13.3.9", "11.4.0.106")
SIZES = {"demo": 256, "sam_vit_b": 512}


def main() -> int:
    """Run the requested parts; returns 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=("tests", *SIZES))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=270, help="for one search with all that follows it")
    parser.add_argument("--version", default=VERSIONS[-1], help="that the searches see")
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for part in given.parts:
        failed += run_tests(given.out) if part == "tests" else search(part, given)
    return min(failed, 1)


def search(model: str, given: argparse.Namespace) -> int:
    """Run one search with everything that follows it; returns its exit code."""
    command = [
        sys.executable,
        str(ROOT / "scripts" / "proofs" / "prove_on_gpu"),
        model,
        "--mask",
        given.version,
    ]
    command += ["--size", str(SIZES[model]), "--trials", str(given.trials), "--seconds", str(given.seconds)]
    command += ["--kill-after", "6", "--reserve", "90", "--out", str(given.out)]
    return subprocess.run(command, check=False, cwd=ROOT).returncode


def run_tests(out: Path) -> int:
    """Run the adapter's GPU tests behind each mask; returns 1 if any failed."""
    runs = [run_under(version) for version in VERSIONS]
    results = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "gpu": gpu(), "runs": runs}
    target = out / f"full_tensorrt_tests_{str(results['date'])[:10]}"
    target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    lines = [
        f"# GPU tests behind masks of full TensorRT, {str(results['date'])[:10]}",
        "",
        "**The code path for full TensorRT over the kernels of TensorRT-RTX**, which presents itself as each",
        "version in turn. Full TensorRT itself was not run.",
        "",
        "Written by `python scripts/proofs/prove_full_tensorrt.py tests`.",
        "",
        f"{results['gpu']}.",
        "",
        *(f"- TensorRT {run['version']}: {run['summary']}, {run['seconds']} s" for run in runs),
        *(f"  - {line}" for run in runs for line in run["failures"]),
    ]
    target.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)
    return int(any(run["exit_code"] for run in runs))


def run_under(version: str) -> dict[str, Any]:
    """Run the tests that need a GPU behind the mask of a version."""
    there = os.environ.get("PYTHONPATH")
    settings = {"MASKED_TENSORRT": version, "PYTHONPATH": os.pathsep.join(filter(None, (str(MASK), there)))}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-q",
        "tests/backends/tensorrt",
        "-rfE",
        "--tb=short",
    ]
    begin = time.monotonic()
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout[-6000:], flush=True)
    lines = done.stdout.splitlines()
    return {
        "version": version,
        "exit_code": done.returncode,
        "summary": next(
            (line.strip("= ") for line in reversed(lines) if re.search(r"passed|failed", line)), "none"
        ),
        "failures": [line for line in lines if line.startswith(("FAILED", "ERROR"))],
        "seconds": round(time.monotonic() - begin),
    }


def gpu() -> str:
    """The GPU with its driver, as NVML names it."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no GPU"


if __name__ == "__main__":
    sys.exit(main())
