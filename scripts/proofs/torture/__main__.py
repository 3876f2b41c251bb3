"""Torture: kills, hostile inputs and faults of the machine, against the real commands and readers.

    PYTHONPATH=tests/kit python scripts/proofs/torture [kill|fuzz|faults|planted ...] [--seed N] ...
    PYTHONPATH=tests/kit python scripts/proofs/torture --workers 12 --seconds 480 \\
        --kills 300 --inputs 15000 --faults 400 --out studies/results/torture_DATE.md

Bounded in time and count; the seed is printed, and repeats the campaign. What must hold whatever happens: no
finished trial is lost or changed, every error is one line, nothing hangs for 20 seconds, nothing that is
damaged is believed, no code in data runs. The exit code is 1 if any of it does not.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import spread
from faults import faults
from fuzz import fuzz
from kill import kill
from outcome import Campaign, Share, Tally
from planted import planted

PARTS = {"kill": kill, "faults": faults, "planted": planted, "fuzz": fuzz}


def main() -> int:
    """Run the chosen parts and print the findings; returns the exit code."""
    options = _options()
    options.parts = options.parts or list(PARTS)
    share = Share(*options.share)
    print(f"seed {options.seed}, share {share.number + 1} of {share.among}", flush=True)
    parts = spread.run_parts(options) if options.workers > 1 else _run(options, share)
    if options.json:
        spread.write(options.json, parts)
    text = _page(options, parts)
    if share.among == 1:
        print(text, flush=True)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 1 if any(tally.failures for tally in parts.values()) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--seconds", type=float, default=110.0, help="for all parts together")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=1500)
    parser.add_argument("--faults", type=int, default=6, dest="fault_count")
    parser.add_argument("--plants", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the blows")
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the results there, as JSON")
    parser.add_argument("--out", type=Path, help="write the results there, as Markdown")
    return parser.parse_args()


def _run(options: argparse.Namespace, share: Share) -> dict[str, Tally]:
    """Run the parts in this process, one after the other. Time one part leaves unused goes to the next."""
    late = time.monotonic() + options.seconds
    counts = {"kill": options.kills, "fuzz": options.inputs, "faults": options.fault_count}
    counts["planted"] = options.plants
    parts: dict[str, Tally] = {}
    for number, part in enumerate(options.parts):
        with tempfile.TemporaryDirectory(prefix="autoprec-torture-") as folder:
            seconds = (late - time.monotonic()) / (len(options.parts) - number)
            # Written after each blow, so that a campaign that is stopped leaves what it found.
            after = partial(spread.write, options.json, parts) if options.json else None
            parts[part] = campaign = Campaign(f"{options.seed} {part}", seconds, share, after)
            PARTS[part](campaign, Path(folder), share.of(counts[part]))
    return parts


def _page(options: argparse.Namespace, parts: dict[str, Tally]) -> str:
    """The results as Markdown, with the command that repeats them."""
    command = (
        f"PYTHONPATH=tests/kit python scripts/proofs/torture {' '.join(options.parts)} --seed {options.seed} "
        f"--workers {options.workers} --seconds {options.seconds:g} --kills {options.kills} "
        f"--inputs {options.inputs} --faults {options.fault_count} --plants {options.plants}"
    )
    where = f"Python {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} cores"
    text = ["# Torture", "", f"`{command}` ({where})", ""]
    for part, tally in parts.items():
        text += [f"## {part}", "", *tally.table(), ""]
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
