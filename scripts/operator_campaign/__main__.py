"""Random models over ONNX's operators and opsets, loaded, rewritten in FP32 and run, against ONNX Runtime.

`python scripts/operator_campaign --cases 400 --seed 0`. Prints each fault with the seed that makes it again
(`--only SEED:OP:OPSET`), and how often each verdict came. Exit code 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict

import numpy as np
from cases import OPSETS, make_case, operators
from verdicts import FAULTS, judged


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=400, help="models that ONNX Runtime takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--operator", help="only this one")
    parser.add_argument("--only", help="one case again: SEED:OP:OPSET")
    parser.add_argument("--no-engine", action="store_true", help="compare the rewritten file in ONNX Runtime alone")
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    counts: Counter[str] = Counter()
    faults: defaultdict[str, list[str]] = defaultdict(list)
    refused: Counter[str] = Counter()
    tries = 0
    while sum(counts.values()) < options.cases and tries < 4 * options.cases:
        tries += 1
        opset = int(random.choice(list(OPSETS)))
        op = str(random.choice(operators(opset)))
        seed = int(random.integers(2**31))
        if options.only:
            text, op, version = options.only.split(":")
            seed, opset = int(text), int(version)
        elif options.operator and op != options.operator:
            tries -= op != options.operator and tries > 0 and options.operator not in operators(opset)
            op = options.operator
            if op not in operators(opset):
                continue
        case = make_case(seed, op, opset)
        if case is None:
            continue
        verdict = judged(case, engine=not options.no_engine)
        counts[verdict.kind] += 1
        if verdict.kind in FAULTS:
            faults[op].append(f"{verdict.kind} {verdict.reason}")
            print(f"{seed}:{op}:{opset}  {verdict.kind}: {verdict.reason}", flush=True)
        elif verdict.kind.startswith("refused"):
            refused[f"{op} {verdict.kind}: {verdict.reason[:110]}"] += 1
        if options.only:
            print(verdict)
            break
    for reason, count in refused.most_common():
        print(f"  {count} x {reason}")
    print(f"seed {options.seed}: " + ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
