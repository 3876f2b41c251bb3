"""Random models over ONNX's operators and opsets: loaded, rewritten in FP32, run, compared with ONNX Runtime.

`python scripts/proofs/operator_campaign --cases 400 --seed 0`; with `--more 5`, graphs of up to six
operators. Prints each fault with the seed that reproduces it (`--only SEED:OP:OPSET`, and the same `--more`),
and counts the verdicts. The exit code is 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
from cases import OPSETS, make_case, operators
from operators import MAKERS
from verdicts import FAULTS, judged


def main() -> int:
    """Run the campaign; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=400, help="models that ONNX Runtime takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--more", type=int, default=0, help="operators behind the first one, at most")
    parser.add_argument("--operator", help="only this one")
    parser.add_argument("--only", help="one case again: SEED:OP:OPSET")
    parser.add_argument(
        "--no-engine", action="store_true", help="compare the rewritten file in ONNX Runtime alone"
    )
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for seed, op, opset in [parsed(options.only)] if options.only else drawn(options.seed, options.operator):
        if sum(counts.values()) >= options.cases:
            break
        case = make_case(seed, op, opset, options.more)
        # ONNX Runtime refuses many random models; they do not count as cases.
        if case is None:
            continue
        verdict = judged(case, engine=not options.no_engine)
        counts[verdict.kind] += 1
        if verdict.kind in FAULTS or options.only:
            print(f"{seed}:{op}:{opset}  {verdict.kind}: {verdict.reason}", flush=True)
        elif verdict.kind.startswith("refused"):
            refused[f"{op} {verdict.kind}: {verdict.reason[:140]}"] += 1
    for reason, count in refused.most_common():
        print(f"  {count} x {reason}")
    print(f"seed {options.seed}: " + ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))
    return int(any(counts[kind] for kind in FAULTS))


def parsed(text: str) -> tuple[int, str, int]:
    """Seed, operator and opset of a text `SEED:OP:OPSET`."""
    seed, op, opset = text.split(":")
    return int(seed), op, int(opset)


def drawn(seed: int, only: str | None) -> Iterator[tuple[int, str, int]]:
    """Yield seed, operator and opset without end: operators in turn, opsets at random."""
    random = np.random.default_rng(seed)
    while True:
        for op in [only] if only else sorted(MAKERS):
            opsets = [opset for opset in OPSETS if op in operators(opset)]
            if opsets:
                yield int(random.integers(2**31)), op, int(random.choice(opsets))


if __name__ == "__main__":
    sys.exit(main())
