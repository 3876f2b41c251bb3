"""Memory and rate of calibration and scoring over a folder: 100 and 10,000 images, on two models.

Each row runs in a process of its own: calibration as the study does it, then the reference pass and the
scoring of an INT8 candidate as its worker does them. The toy is a few convolutions at 512x512, so quick that
reading matters; the demo is the shipped encoder with its decoder, prompts and true masks at 256x256. Peaks
are of resident memory. Rates are of wall time against the engines alone on one placed sample, timed before
and after each stage; what a stage costs once is a column of its own. Images are drawn or copied once and
linked under many names. Writes `stream_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from cases import ROOT, demo, toy
from page import grown_mb, text
from stages import Figures, measure


def main() -> None:
    """Run every row in its own process and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100,10000", help="numbers of images for the toy")
    parser.add_argument("--width", type=int, default=24, help="the toy's channels")
    parser.add_argument("--demo", default="100,1000", help="numbers of images for the demo; empty for none")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    options = parser.parse_args()
    if options.one:
        name, _, count = options.one.partition(":")
        with tempfile.TemporaryDirectory() as temporary:
            folder, size = Path(temporary), int(count)
            case = toy(folder, size, options.width) if name == "toy" else demo(folder, size)
            print(json.dumps(measure(case, size, folder)))
        return
    rows: dict[str, list[Figures]] = {}
    for name, sizes in (("toy", options.sizes), ("demo", options.demo)):
        for size in filter(None, sizes.split(",")):
            command = [sys.executable, __file__, "--one", f"{name}:{size}", "--width", str(options.width)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[name][-1], flush=True)
    result = {
        "machine": platform.processor(),
        "cores": os.cpu_count(),
        "growth_mb": grown_mb(rows),
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"stream_{datetime.date.today()}"
    target.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    target.with_suffix(".md").write_text(text(rows))


if __name__ == "__main__":
    main()
