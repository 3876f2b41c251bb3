"""What each cure of INT8 gains, alone and together: uniform assignments, no search.

    python scripts/bench/peers/cures.py studies/demo.toml build/bench_peers/ppocr_v6_det/ppocr_v6_det.toml

Every variant is measured once by the peers' judge, in turn with the study's reference. Writes
`cures_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from pathlib import Path

import msgspec
from judge import Judge, Point

from autoprec.errors import AutoprecError
from autoprec.spec import load_spec
from autoprec.study.events import Quiet
from autoprec.study.session import Parallel, session

ROOT = Path(__file__).resolve().parents[3]
ALL = "smooth+float-add+adaround+bias"
VARIANTS = (
    "int8",
    *(f"int8+{ranges}" for ranges in ("minmax", "p99.9", "p99.99", "entropy", "mse")),
    *(f"int8+{cure}" for cure in ("smooth", "float-add", "adaround", "bias", "pv-float", "gemm")),
    *(f"int8+{cures}" for cures in ("smooth+bias", "smooth+float-add+bias", ALL)),
    *(f"int8+{ranges}+{ALL}" for ranges in ("minmax", "p99.9", "p99.99", "mse")),
)


def main() -> None:
    """Measure every variant on every study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=Path, help="definitions")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench_cures")
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    results: dict[str, dict[str, Point]] = {}
    for study in given.studies:
        results[study.stem] = measured(study, tuple(given.variants), given.work)
        write(results, given.out)


def measured(study: Path, variants: tuple[str, ...], work: Path) -> dict[str, Point]:
    """Speed-up and loss of each variant in all blocks of a study."""
    replace, spec = msgspec.structs.replace, load_spec(study)
    search = replace(spec.search, precisions=("fp32", *variants))
    spec = replace(spec, folder=str(work / spec.name), search=search, default=False)
    points: dict[str, Point] = {}
    with session(spec, Quiet(), Parallel(), checks=False) as opened:
        judge = Judge(opened.prepared.setup)
        for label, assignment in opened.prepared.anchors:
            try:
                candidate = opened.prepared.rewrite(assignment, work / spec.name / "judged.onnx")
                points[label] = judge.point(Path(candidate.model_path))
            except AutoprecError as error:
                points[label] = {"failure": str(error)}
            print(study.stem, label, points[label], flush=True)
    return points


def write(results: dict[str, dict[str, Point]], out: Path) -> None:
    """Write a table of speed-up / loss, with a column for each study."""
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"cures_{datetime.datetime.now(datetime.UTC).date()}"
    machine = {"machine": platform.processor() or platform.machine()}
    target.with_suffix(".json").write_text(json.dumps(machine | {"points": results}, indent=1) + "\n")
    rows = dict.fromkeys(label for points in results.values() for label in points)
    lines = ["# What each cure of INT8 pays", "", "Speed-up over the reference / mask loss, uniform.", ""]
    lines += ["| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for label in rows:
        cells = [told(points.get(label)) for points in results.values()]
        lines.append(f"| {label.removeprefix('all-')} | " + " | ".join(cells) + " |")
    target.with_suffix(".md").write_text("\n".join(lines) + "\n")


def told(point: Point | None) -> str:
    """One cell of the table; empty if the variant changes nothing in the model."""
    if point is None:
        return ""
    return "fails" if "failure" in point else f"{point['speedup']:.2f} / {point['loss']:.4f}"


if __name__ == "__main__":
    main()
