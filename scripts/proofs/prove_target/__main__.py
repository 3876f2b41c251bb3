"""Searches on a target over ssh on a loopback address: other Pythons, slow lines, dropped lines, and kills.

    PYTHONPATH=tests/kit python scripts/proofs/prove_target night --python py38/bin/python --trials 6
    PYTHONPATH=tests/kit python scripts/proofs/prove_target night --tiny --rate 100000 --delay 0.05 --life 60
    PYTHONPATH=tests/kit python scripts/proofs/prove_target kills --python ... --count 40 --seed 1 [--tiny]

`night` searches the demo, or a tiny study, exports the fastest point, verifies it there, and cleans up.
`kills` searches the demo with few samples, or a tiny study, and kills the search, its worker, ssh, the agent
or its session at random moments; it looks for what is lost, resumes to the end, exports, verifies and cleans.
`--python` has numpy and OpenVINO. The exit code is 1 if anything is wrong. Needs openssh-server.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from kills import kills
from night import night

from loopback_ssh import IS_HERE


def main() -> int:
    """Run a part and report it; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("night", "kills"))
    parser.add_argument("--python", default=sys.executable, help="the target's")
    parser.add_argument("--tiny", action="store_true", help="a tiny study in place of the demo")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--rate", type=float, default=0, help="bytes a second each way; 0 is no limit")
    parser.add_argument("--delay", type=float, default=0, help="seconds each way")
    parser.add_argument("--life", type=float, default=0, help="seconds until a line drops, in the mean")
    parser.add_argument("--count", type=int, default=40, help="kills")
    parser.add_argument("--between", type=float, default=12, help="seconds from kill to kill, at most")
    parser.add_argument("--seconds", type=float, default=540, help="no further kill after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="add the results to this file, as Markdown")
    given = parser.parse_args()
    if not IS_HERE:
        sys.exit("prove_target: no sshd here: apt-get install openssh-server")
    with tempfile.TemporaryDirectory(prefix="autoprec-target-") as folder:
        lines, faults = (night if given.part == "night" else kills)(given, Path(folder))
    text = "\n".join([*lines, *(f"FAILED: {fault}" for fault in faults), ""])
    print(text)
    if given.out:
        with given.out.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
