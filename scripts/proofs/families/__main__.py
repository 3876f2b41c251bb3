"""Models of other libraries, by both exporters, quantised and optimised by others, through all of autoprec.

    python scripts/proofs/families [--families torchvision timm] [--only NAME.onnx] [--journeys] [--out FILE]

Makes the models in environments of their own (gigabytes, once), and compares each file in ONNX Runtime with
what autoprec loads of it, rewrites of it in FP32, and computes of that with OpenVINO; a quantised one also
with the pairs that it came with. With `--journeys` some go through `init`, `search --budget 3`, `export` and
`verify`. All is kept in `--folder`: what was done is not done again, and several processes may share it, each
with files of its own (`--only`). The exit code is 1 where any differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pictures
from compare import Comparison, compared
from journey import travelled
from zoo import EXPORTED, JOURNEYS, QUANTISED, Case, cases, make

STEPS = ("loaded", "FP32", "engine", "as given")


def main() -> int:
    """Make the files, compare each, run the journeys and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--families", nargs="+", default=[*EXPORTED, *QUANTISED], help="by default all")
    parser.add_argument("--only", help="files whose names have this in them")
    parser.add_argument("--journeys", action="store_true", help="from init to verify, too: minutes each")
    parser.add_argument("--folder", type=Path, default=Path("build/families"))
    parser.add_argument("--out", type=Path, help="write the table of everything that was done so far")
    given = parser.parse_args()
    folder = given.folder.resolve()
    sets = [pictures.draw(folder / name, seed) for seed, name in enumerate(("calibration", "evaluation"))]
    wanted = [case for case in cases(given.families) if not given.only or given.only in f"{case.name}.onnx"]
    make(wanted, folder, sets[0])
    for case in wanted:
        row = _row(folder, case, sets, journeys=given.journeys)
        print(_line(case, row), flush=True)
    rows = [(case, _kept(folder, case)) for case in cases([*EXPORTED, *QUANTISED])]
    if given.out is not None:
        given.out.write_text(_page([(case, row) for case, row in rows if row]), encoding="utf-8")
    return int(any(row.get("fault") for case, row in rows if case in wanted))


def _row(folder: Path, case: Case, sets: list[Path], *, journeys: bool) -> dict[str, str]:
    """The results of one file, by column. Kept results are reused, except those with a fault."""
    row, path = _kept(folder, case), folder / f"{case.name}.onnx"
    if not path.is_file():
        row = {"words": f"not made: {(folder / f'{case.name}.refused').read_text()}"}
    elif not row or row.get("fault"):
        row = _columns(compared(path, sets[0]))
    if journeys and case.name in JOURNEYS and path.is_file() and "journey" not in row:
        well, row["journey"] = travelled(path, (sets[0], sets[1]), folder / "journeys" / case.name)
        row["fault"] = row["fault"] or ("" if well else "journey")
    # Kept per file, so that several processes can work on different files of one folder.
    folder.joinpath(f"{case.name}.json").write_text(json.dumps(row))
    return row


def _columns(comparison: Comparison) -> dict[str, str]:
    row = {step: f"{error:.0e}" if error else "0" for step, error in comparison.errors.items()}
    return {**row, "words": "; ".join(comparison.words), "fault": ", ".join(comparison.beyond)}


def _kept(folder: Path, case: Case) -> dict[str, str]:
    path = folder / f"{case.name}.json"
    rows: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    return rows


def _line(case: Case, row: dict[str, str]) -> str:
    told = [f"{step} {row[step]}" for step in STEPS if step in row]
    told += [row[key] for key in ("words", "journey") if row.get(key)]
    return f"{case.name}: {', '.join(told)}" + (f"  FAULT: {row['fault']}" if row.get("fault") else "")


def _page(rows: list[tuple[Case, dict[str, str]]]) -> str:
    """The result in Markdown."""
    lines = [
        f"# Models of other libraries, {datetime.now(UTC):%Y-%m-%d}",
        "",
        "`python scripts/proofs/families --journeys`: each file against what autoprec makes of it.",
        "Files run in ONNX Runtime. Errors are relative to the spread of the worst output, on one picture;",
        "weights are random. FP16 is raised to FP32 first, Q/DQ pairs are taken off but in their column.",
        "",
        "| file | loaded | FP32 rewrite | on OpenVINO | pairs as given | init to verify |",
        "|---|---|---|---|---|---|",
    ]
    for case, row in rows:
        steps = " | ".join(row.get(step, "") for step in STEPS)
        lines.append(f"| {case.name} | {steps} | {_end(case, row)} |")
    counts = {
        "compared": sum("loaded" in row for _, row in rows),
        "from `init` to `verify`": sum("verified" in row.get("journey", "") for _, row in rows),
        "refused by their makers": sum("loaded" not in row for _, row in rows),
        "with faults": sum(bool(row.get("fault")) for _, row in rows),
    }
    told = ", ".join(f"{count} {words}" for words, count in counts.items())
    return "\n".join([*lines, "", f"{len(rows)} files: {told}.", ""])


def _end(case: Case, row: dict[str, str]) -> str:
    """The last column of a file: how far it got, what was refused, and what differs."""
    only = "not yet tried" if case.name in JOURNEYS else "compared only"
    way = row.get("journey") or (only if case.has_masks else "no masks: compared only")
    told = (way if "loaded" in row else "", row.get("words"), row.get("fault") and f"FAULT: {row['fault']}")
    return "; ".join(filter(None, told)).replace("|", "/")


if __name__ == "__main__":
    sys.exit(main())
