"""Several hosts in one study, on one machine: searches, links, the database and a cluster's nodes die.

    PYTHONPATH=tests/kit python scripts/proofs/prove_fleet hosts --hosts 3 --blows 12 --seed 1
    PYTHONPATH=tests/kit python scripts/proofs/prove_fleet ray --blows 4 --seed 1

`hosts`: each host is a network namespace of its own (root alone can make them; `--shared-network` does
without) and a folder of its own; PostgreSQL listens on the bridge between them. A blow kills a search with
all that it started, cuts a host's link for a while, or restarts the database, once of two times as a crash.

`ray`: a head and two nodes by `ray start`, on which `autoprec search --ray` runs. A blow kills a node with
all that runs there, and another node joins; the last one kills the head, and the search is resumed on a new
cluster.

At the end every trial must be there once, in our tables and in Optuna's, no finished one changed since it
was first seen, and the front must be the trials'. Writes Markdown with `--out`; exits with 1 if anything is
wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "scripts" / "scale"))
from cluster import on_ray  # noqa: E402 - beside this file; the server is of another folder of scripts
from hosts import on_hosts  # noqa: E402

PARTS = {"hosts": on_hosts, "ray": on_ray}


def main() -> int:
    """Run the chosen part and print its findings; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--blocks", type=int, default=5, help="of the model: there are 3 to the power of it")
    parser.add_argument("--blows", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=500, help="after which nothing is struck any more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared-network", action="store_true")
    parser.add_argument("--out", type=Path, help="write the results there, as Markdown")
    given = parser.parse_args()
    given.dice = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="autoprec-fleet-", dir="/tmp") as folder:
        told = PARTS[given.part](given, Path(folder))
    lines = [f"- {line}" for line in told.lines]
    words = [word for word in sys.argv[1:] if word != "--out" and word != str(given.out)]
    page = [f"`scripts/proofs/prove_fleet {' '.join(words)}`: {len(told.faults)} faults", "", *lines]
    page += [f"- **fault**: {fault}" for fault in told.faults]
    print("\n".join(page), flush=True)
    if given.out:
        given.out.write_text("\n".join(page) + "\n", encoding="utf-8")
    return 1 if told.faults else 0


if __name__ == "__main__":
    sys.exit(main())
