"""Torture: kills, hostile inputs and faults of the machine, against the real commands and readers.

    PYTHONPATH=tests/kit python scripts/proofs/torture [kill|fuzz|faults ...] [--seed N] [--kills N] ...

Bounded in time and count; the seed is printed, and repeats the campaign. What must hold whatever happens: no
finished trial is lost or changed, every error is one line, nothing hangs for 20 seconds, nothing that is
damaged is believed, no code in data runs. The exit code is 1 if any of it does not.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from faults import faults
from fuzz import fuzz
from kill import kill
from outcome import Campaign

PARTS = {"kill": kill, "fuzz": fuzz, "faults": faults}


def main() -> int:
    """Run the parts that are asked for, and tell what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--seconds", type=float, default=110.0, help="for all parts together")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=1500)
    parser.add_argument("--faults", type=int, default=6, dest="fault_count")
    parser.add_argument("--out", type=Path, help="write the results there, as Markdown")
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    counts = {"kill": options.kills, "fuzz": options.inputs, "faults": options.fault_count}
    print(f"seed {options.seed}", flush=True)
    text = [f"Seed {options.seed}.", ""]
    is_sound = True
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="autoprec-torture-") as folder:
            campaign = Campaign(random.Random(f"{options.seed} {part}"), options.seconds / len(parts))
            PARTS[part](campaign, Path(folder), counts[part])
        text += [f"## {part}", "", *campaign.table(), ""]
        print("\n".join(text[-len(campaign.table()) - 3 :]), flush=True)
        is_sound &= not campaign.failures
    if options.out:
        options.out.write_text("\n".join(text), encoding="utf-8")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
