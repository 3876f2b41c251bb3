"""How soon does the command answer? `scripts/bench/startup.py` times help, TAB and a mistyped option.

Each is run in turn with `python -c pass` in the same environment, so that a busy machine stretches both; the
table has medians, their ratio to that of an empty Python, and the packages that each answer imports.
Aims on a quiet machine: TAB under 0.3 s, help under 0.4 s.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from statistics import median
from typing import NamedTuple

COMMAND = ("-c", "import sys; sys.argv[0] = 'autoprec'; from autoprec.cli import main; main()")
EMPTY = "python -c pass"
TAB = {"_AUTOPREC_COMPLETE": "complete_bash", "COMP_WORDS": "autoprec front --study d", "COMP_CWORD": "3"}
ANSWERS: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    EMPTY: (("-c", "pass"), {}),
    "TAB after `front --study d`": (COMMAND, TAB),
    "autoprec --help": ((*COMMAND, "--help"), {}),
    "autoprec search --help": ((*COMMAND, "search", "--help"), {}),
    "autoprec front --nope": ((*COMMAND, "front", "--nope"), {}),
}


class Spent(NamedTuple):
    """Seconds of one run."""

    wall: float
    processor: float


def run(words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Spent:
    """Run Python once with these arguments."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        _, _, usage = os.wait4(running.pid, 0)
        running.returncode = 0  # waited for already: only wait4 tells the processor time of one child
    return Spent(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def imported(words: Sequence[str], environment: Mapping[str, str], folder: Path) -> list[str]:
    """The packages beyond Python's own that an answer imports."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,  # a mistyped option ends with 2
    ).stderr
    names = {name.partition(".")[0] for name in re.findall(r"\| +([\w.]+)$", told, re.MULTILINE)}
    return sorted(names & packages_distributions().keys())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="how often each is run (15)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "studies").mkdir()
        (folder / "studies" / "demo.toml").touch()
        spent: dict[str, list[Spent]] = {name: [] for name in ANSWERS}
        for _ in range(rounds + 1):  # the first one fills caches, and does not count
            for name, (words, environment) in ANSWERS.items():
                spent[name].append(run(words, environment, folder))
        least = median(one.processor for one in spent[EMPTY][1:])
        print("| answer | wall s | processor s | times an empty Python | imports |\n|---|---|---|---|---|")
        for name, (words, environment) in ANSWERS.items():
            wall, processor = (median(figures) for figures in zip(*spent[name][1:], strict=True))
            packages = ", ".join(imported(words, environment, folder))
            print(f"| {name} | {wall:.3f} | {processor:.3f} | {processor / least:.1f} | {packages} |")
    load = os.getloadavg()[0]
    print(
        f"\nMedians of {rounds}; load {load:.1f} on {os.cpu_count()} cores; Python {sys.version.split()[0]}"
    )


if __name__ == "__main__":
    main()
