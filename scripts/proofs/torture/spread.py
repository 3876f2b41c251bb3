"""A campaign spread over processes: each does its share of the blows, and what they found is added up."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from outcome import Tally

SPARE_SECONDS = 120.0
"""A blow that is under way when the time is up comes to its end; one that does not is given up."""


def run_parts(options: argparse.Namespace) -> dict[str, Tally]:
    """Start `options.workers` campaigns of an equal share each; returns what they found by part.

    Each process keeps to cores of its own, so that one engine does not take all of them.
    """
    with tempfile.TemporaryDirectory(prefix="autoprec-torture-shares-") as folder:
        files = [Path(folder) / f"{number}.json" for number in range(options.workers)]
        started = [_start(options, number, file) for number, file in enumerate(files)]
        for number, process in enumerate(started):
            try:
                process.wait(options.seconds + SPARE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                print(f"FAILED: share {number} did not end in time", flush=True)
        return merged(read(file) if file.exists() else None for file in files)


def merged(shares: Iterable[dict[str, Tally] | None]) -> dict[str, Tally]:
    """What several shares found, added up; one that left no results is a failure."""
    total: dict[str, Tally] = {}
    for number, share in enumerate(shares):
        if share is None:
            total.setdefault("shares", Tally()).note("share", "ended", f"share {number} left no results")
            continue
        for part, tally in share.items():
            total.setdefault(part, Tally()).add(tally)
    return total


def read(path: Path) -> dict[str, Tally]:
    """What `write` wrote."""
    return {part: Tally.of(data) for part, data in json.loads(path.read_text(encoding="utf-8")).items()}


def write(path: Path, parts: dict[str, Tally]) -> None:
    """Keep what was found, for `read`."""
    path.write_text(json.dumps({part: tally.data() for part, tally in parts.items()}), encoding="utf-8")


def _start(options: argparse.Namespace, number: int, file: Path) -> subprocess.Popen[bytes]:
    words: Sequence[str] = (
        sys.executable, str(Path(__file__).parent), *options.parts,
        "--seed", str(options.seed), "--share", str(number), str(options.workers),
        "--seconds", str(options.seconds), "--kills", str(options.kills),
        "--inputs", str(options.inputs), "--faults", str(options.fault_count), "--json", str(file),
    )  # fmt: skip
    cores = sorted(os.sched_getaffinity(0))
    mine = {cores[number % len(cores)], cores[(number + options.workers) % len(cores)]}
    return subprocess.Popen(words, preexec_fn=lambda: os.sched_setaffinity(0, mine))  # noqa: PLW1509
