"""How long does a newcomer wait? `scripts/bench/first_front.py dist/autoprec-*.whl` times it in phases.

In a new virtual environment and an empty folder: `pip install` of the wheel, then `autoprec demo`, whose
lines are dated as they come. Prints a table of phases in seconds of wall time, and the processor seconds of
each command: on a busy machine wall time is longer, processor time much the same. Aim on a quiet machine with
two cores: two minutes in all. Without a wheel it times the demo of this environment alone.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PHASES = {
    "write the demo, load": r"^study demo",
    "compare the original model": r"^comparing",
    "calibrate": r"^calibrating|^measuring what the rounding",
    "ask the engine": r"^trying",
    "reference and anchors": r"^comparing .* reference|^trial 0",
    "search": r"^sensitivity|^trial [1-9]",
    "show the front": r"^mask loss",
}
"""Each phase with a pattern of its first line; it lasts until another phase begins."""


def dated(words: list[str], folder: Path) -> tuple[list[tuple[float, str]], float]:
    """The lines of a command with their seconds since its start, and the second at which it ended."""
    start, lines = time.perf_counter(), list[tuple[float, str]]()
    with subprocess.Popen(
        words,
        cwd=folder,
        # Into a pipe Python writes block by block, which would date many lines alike.
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        lines += [(time.perf_counter() - start, line.rstrip()) for line in running.stdout]
    if running.returncode:
        sys.exit("\n".join(line for _, line in lines[-5:]))
    return lines, time.perf_counter() - start


def processor_seconds() -> float:
    """Processor seconds of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def phases(lines: list[tuple[float, str]], end: float) -> list[tuple[str, float]]:
    """Each phase and its seconds, in order of appearance."""
    starts: list[tuple[str, float]] = [("start Python", 0.0)]
    for second, line in lines:
        names = [name for name, pattern in PHASES.items() if re.search(pattern, line)]
        if names and names[-1] not in {name for name, _ in starts}:
            starts.append((names[-1], second))
    ends = [*(second for _, second in starts[1:]), end]
    return [(name, stop - begin) for (name, begin), stop in zip(starts, ends, strict=True)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path, nargs="?")
    wheel = parser.parse_args().wheel
    with tempfile.TemporaryDirectory() as temporary:
        home, folder = Path(temporary) / "venv", Path(temporary) / "work"
        folder.mkdir()
        rows: list[tuple[str, float]] = []
        python = sys.executable
        if wheel is not None:
            rows.append(("python -m venv", dated([python, "-m", "venv", str(home)], folder)[1]))
            python = str(home / "bin" / "python")
            install = [python, "-m", "pip", "install", "-q", str(wheel.resolve())]
            rows.append(("pip install", dated(install, folder)[1]))
        middle = processor_seconds()
        rows += phases(*dated([python, "-m", "autoprec", "demo"], folder))
        end = processor_seconds()
    print("| phase | wall s |\n|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.1f} |")
    whole = sum(seconds for _, seconds in rows)
    print(f"\n{whole:.0f} s in all; processor: demo {end - middle:.0f} s, before {middle:.0f} s")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
