"""What came of each blow, and how a command is run and judged."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

COMMAND = (sys.executable, "-P", "-c", "import sys; from autoprec.cli import main; main(sys.argv[1:])")
EXPECTED = frozenset({0, 2, 3, 4, 130})
HANG_SECONDS = 120.0
"""A command trains, builds and measures, on a machine that may be busy: more than one input may take."""


class Ran(NamedTuple):
    """A command that is over."""

    code: int
    words: str

    @property
    def fault(self) -> str:
        """Why this is no way to end; empty if it is one."""
        if "Traceback" in self.words:
            return f"a traceback: {self.words.strip().splitlines()[-1]}"
        if self.code not in EXPECTED:
            return f"exit code {self.code}: {self.words.strip()[-300:]}"
        return ""


class Campaign:
    """Counts blows by kind, until the time is up.

    Args:
        dice: the seeded source of every choice.
        seconds: how long it may take.
    """

    def __init__(self, dice: random.Random, seconds: float) -> None:
        self.dice = dice
        self._end = time.monotonic() + seconds
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end

    def note(self, kind: str, result: str, failure: str = "") -> None:
        """Count a blow; a failure is told at once."""
        self.counts[kind, "FAILED" if failure else result] += 1
        if failure:
            self.failures.append(f"{kind}: {failure}")
            print(f"FAILED {kind}: {failure}", flush=True)

    def table(self) -> list[str]:
        """Markdown: how many blows of each kind ended how, and the failures."""
        rows = [f"| {kind} | {result} | {n} |" for (kind, result), n in sorted(self.counts.items())]
        total = f"{sum(self.counts.values())} in all, {len(self.failures)} failures."
        return ["| blow | result | times |", "|---|---|---|", *rows, "", total, *self.failures[:20]]


def start(words: list[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a session of its own."""
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def end(process: subprocess.Popen[str], seconds: float = HANG_SECONDS) -> Ran:
    """Wait for a command; one that hangs is killed, and told."""
    try:
        words, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return Ran(-1, f"hung for {seconds:g} s")
    return Ran(process.returncode, words)
