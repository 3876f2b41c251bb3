"""A file's way through the commands as a user types them: init, search, export, verify."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

SECONDS = 400
"""A command that takes longer has failed."""


def travelled(path: Path, pictures: tuple[Path, Path], folder: Path) -> tuple[bool, str]:
    """Take a file from `init` to `verify`; returns whether every command did as it should, and what it said.

    Args:
        path: the model.
        pictures: folders to calibrate on, and to evaluate on.
        folder: of the study; made anew.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sets = ["--calibration", str(pictures[0]), "--evaluation", str(pictures[1])]
    steps = [
        ["init", str(path), *sets],
        ["search", "--budget", "3"],
        ["export", "shipped", "--pick", "fastest", "--max-loss", "1"],
        ["verify", "shipped"],
    ]
    for step in steps:
        command = [sys.executable, "-m", "autoprec", *step]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return False, f"{step[0]} took more than {SECONDS} s"
        (folder / f"{step[0]}.log").write_text(done.stdout + done.stderr)
        if done.returncode and not _only_slower(step[0], done.stdout):
            return False, f"{step[0]} ended with {done.returncode}: {_last_lines(done.stderr or done.stdout)}"
    return _shipped(folder)


def _shipped(folder: Path) -> tuple[bool, str]:
    """What was exported, and its loss against the model as given."""
    manifest = json.loads((folder / "shipped" / "manifest.json").read_text())
    said = " ".join((folder / "verify.log").read_text().split())
    found = re.search(r"as given: mask loss ([\d.]+)", said)
    loss = found[1] if found else "not compared"
    return True, f"trial {manifest['trial']['number']} verified; loss against the file {loss}"


def _only_slower(step: str, said: str) -> bool:
    """Whether all that `verify` found is another latency: a busy machine's, and no value's."""
    differing = [line for line in said.splitlines() if line.startswith("DIFFERS")]
    return step == "verify" and bool(differing) and all("latency:" in line for line in differing)


def _last_lines(text: str) -> str:
    return " ".join(text.strip().splitlines()[-2:])[:300]
