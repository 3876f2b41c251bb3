"""A file's way through the commands as a user types them: init, search, export, verify."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from autoprec.precisions import PRECISIONS

SECONDS = 500
"""A command that takes longer has failed."""


class CommandError(Exception):
    """A command that ended as it should not have."""


def travelled(path: Path, pictures: tuple[Path, Path], folder: Path) -> tuple[bool, str]:
    """Take a file from `init` to `verify`; returns whether every command succeeded, and a summary.

    Args:
        path: the model.
        pictures: folders of calibration and evaluation pictures.
        folder: the study's folder; emptied first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        sets = ["--calibration", str(pictures[0]), "--evaluation", str(pictures[1])]
        _command(folder, "init", str(path), *sets)
        _command(folder, "search", "--budget", "3")
        trial = _most_quantised(json.loads(_command(folder, "trials", "--json")))
        _command(folder, "export", "shipped", "--trial", str(trial["number"]), "--examples", "2")
        said = " ".join(_command(folder, "verify", "shipped").split())
    except CommandError as error:
        return False, str(error)
    match = re.search(r"original: mask loss ([\d.]+)", said)
    return match is not None, f"{trial['label']} verified, loss {match[1] if match else 'not compared'}"


def _command(folder: Path, *arguments: str) -> str:
    """Run a command and return what it prints.

    Raises:
        CommandError: the command failed, or took more than `SECONDS`.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "autoprec", *arguments],
            cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{arguments[0]} took more than {SECONDS} s") from error
    (folder / f"{arguments[0]}.log").write_text(done.stdout + done.stderr)
    if done.returncode and not _is_only_slower(arguments[0], done.stdout):
        last = " ".join((done.stderr or done.stdout).strip().splitlines()[-2:])
        raise CommandError(f"{arguments[0]} ended with {done.returncode}: {last[:300]}")
    return done.stdout


def _is_only_slower(command: str, said: str) -> bool:
    """Whether `verify` found only latencies to differ: a busy machine's say nothing about the export."""
    differing = [line for line in said.splitlines() if line.startswith("DIFFERS")]
    return command == "verify" and bool(differing) and all("latency:" in line for line in differing)


def _most_quantised(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """The complete trial with the most quantised blocks."""

    def count(trial: dict[str, Any]) -> int:
        return sum(PRECISIONS[name].is_quantized for _, name in trial["assignment"]["choices"])

    return max((trial for trial in trials if trial["state"] == "complete"), key=count)
