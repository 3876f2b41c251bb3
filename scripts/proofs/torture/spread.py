"""Spread a campaign over processes: each does its share of the blows, and their findings are added up."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from outcome import Tally

from autoprec.files import replacing

LOOK_SECONDS = 5.0
"""How often the findings so far are added up and written."""
SPARE_SECONDS = 120.0
"""How long a blow under way when the time is up may still take; then its process is killed."""


def run_parts(options: argparse.Namespace) -> dict[str, Tally]:
    """Start `options.workers` processes with an equal share each; returns their findings by part."""
    with tempfile.TemporaryDirectory(prefix="autoprec-torture-shares-") as folder:
        files = [Path(folder) / f"{number}.json" for number in range(options.workers)]
        started = [_start(options, number, file) for number, file in enumerate(files)]
        late, unended = time.monotonic() + options.seconds + SPARE_SECONDS, Tally()
        # Stopped from outside, as by `timeout`, it tells what was found until then.
        with stopping(started):
            while time.monotonic() < late and any(process.poll() is None for process in started):
                time.sleep(LOOK_SECONDS)
                if options.json:  # the whole machine may go
                    write(options.json, merged(read(file) for file in files if file.exists()))
            for number, process in enumerate(started):
                try:
                    process.wait(max(0.0, late - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                if process.returncode < 0:
                    unended.note("share", "ended", f"share {number} did not end in time")
        parts = merged(read(file) if file.exists() else None for file in files)
        if unended.counts:
            parts.setdefault("shares", Tally()).add(unended)
        return parts


@contextmanager
def stopping(shares: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """In the block, a signal to end ends the shares instead of this process."""

    def end(*_: object) -> None:
        for share in shares:
            share.kill()

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def merged(shares: Iterable[dict[str, Tally] | None]) -> dict[str, Tally]:
    """The findings of several shares added up; a share without results counts as a failure."""
    total: dict[str, Tally] = {}
    for number, share in enumerate(shares):
        if share is None:
            total.setdefault("shares", Tally()).note("share", "ended", f"share {number} left no results")
            continue
        for part, tally in share.items():
            total.setdefault(part, Tally()).add(tally)
    return total


def read(path: Path) -> dict[str, Tally]:
    """Read the findings that `write` wrote."""
    return {part: Tally.of(data) for part, data in json.loads(path.read_text(encoding="utf-8")).items()}


def write(path: Path, parts: dict[str, Tally]) -> None:
    """Write findings to a file, for `read`; whoever is killed meanwhile leaves the earlier ones."""
    with replacing(path) as fresh:
        fresh.write_text(json.dumps({part: tally.data() for part, tally in parts.items()}), encoding="utf-8")


def _start(options: argparse.Namespace, number: int, file: Path) -> subprocess.Popen[bytes]:
    words: Sequence[str] = (
        sys.executable, str(Path(__file__).parent), *options.parts,
        "--seed", str(options.seed), "--share", str(number), str(options.workers),
        "--seconds", str(options.seconds), "--kills", str(options.kills),
        "--inputs", str(options.inputs), "--faults", str(options.fault_count),
        "--plants", str(options.plants), "--json", str(file),
    )  # fmt: skip
    # Each process keeps to two cores of its own: one engine would otherwise spread over all of them.
    cores = sorted(os.sched_getaffinity(0))
    mine = {cores[number % len(cores)], cores[(number + options.workers) % len(cores)]}
    return subprocess.Popen(words, preexec_fn=lambda: os.sched_setaffinity(0, mine))  # noqa: PLW1509
