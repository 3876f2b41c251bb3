"""Do the tests bite? Takes random mutants of the code where a fault would be silent, and counts the killed.

    python scripts/proofs/mutate.py --count 300 --jobs 16            # hours on two cores, minutes on sixteen
    python scripts/proofs/mutate.py --count 20 --area strategy --seed 7

Needs `pip install cosmic-ray`, whose operators make the mutants: an operator exchanged, a number moved, a
condition negated, a loop that does not run. Each mutant lives in a copy of the tree. Its area's tests run
first, then, if it is still alive, the whole suite; a mutant that hangs counts as killed. Mutants that change
annotations alone are not drawn: nothing runs them.

Writes `studies/results/mutants_DATE.md`: the share that was killed in each area, and every survivor's change.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from cosmic_ray import plugins
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parents[2]
AREAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "writer": (
        ("autoprec/graph/rewrite/*.py", "autoprec/graph/grids/*.py"),
        ("tests/graph/test_rewrite_property.py", "tests/toolbox", "tests/graph"),
    ),
    "placement": (
        ("autoprec/graph/ops/*.py", "autoprec/legality/*.py"),
        ("tests/graph/test_placement.py", "tests/graph/test_costs.py", "tests/graph", "tests/legality"),
    ),
    "ranges": (
        ("autoprec/graph/statistics/*.py", "autoprec/graph/variants/*.py", "autoprec/calibration.py"),
        ("tests/graph/test_ranges.py", "tests/test_calibration.py", "tests/toolbox"),
    ),
    "timing": (
        ("autoprec/backends/timing.py", "autoprec/backends/ratios.py"),
        ("tests/backends/test_timing.py",),
    ),
    "store": (("autoprec/store/**/*.py", "autoprec/records/*.py"), ("tests/store", "tests/study")),
    "strategy": (("autoprec/search/**/*.py",), ("tests/search",)),
    "audit": (
        (
            "autoprec/measurement/audit.py",
            "autoprec/backends/openvino_nodes.py",
            "autoprec/backends/tensorrt/layers.py",
        ),
        ("tests/backends", "tests/measurement", "tests/study"),
    ),
    "loading": (
        ("autoprec/graph/model/*.py", "autoprec/graph/blocks/*.py"),
        ("tests/graph", "tests/toolbox/test_incoming.py"),
    ),
    "metrics": (("autoprec/quality/*.py",), ("tests/quality",)),
}
"""Area to the files that are mutated and the tests that should notice."""
_BINARY = "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_FloorDiv Pow_Mul BitOr_BitAnd BitAnd_BitOr"
_COMPARISON = "Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_Gt Gt_Lt Is_IsNot IsNot_Is"
OPERATORS = (
    *(f"ReplaceBinaryOperator_{change}" for change in _BINARY.split()),
    *(f"ReplaceComparisonOperator_{change}" for change in _COMPARISON.split()),
    "ReplaceUnaryOperator_USub_UAdd",
    "ReplaceUnaryOperator_Delete_Not",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "NumberReplacer",
    "ZeroIterationForLoop",
)


class Mutant(NamedTuple):
    """One change of one file."""

    area: str
    path: str
    operator: str
    code: str


class Outcome(NamedTuple):
    """What became of a mutant: `killed`, `hung` or `survived`."""

    mutant: Mutant
    fate: str


def draw(count: int, areas: Sequence[str], generator: random.Random) -> list[Mutant]:
    """Random mutants, as many in each area, of different places."""
    drawn: list[Mutant] = []
    for place, area in enumerate(areas):
        wanted = count // len(areas) + (place < count % len(areas))
        pool = [mutant for path in files_of(area) for mutant in mutants_of(area, path)]
        drawn += generator.sample(pool, min(wanted, len(pool)))
    return drawn


def files_of(area: str) -> list[Path]:
    """The files of an area."""
    found = (path for pattern in AREAS[area][0] for path in sorted(ROOT.glob(pattern)))
    return [path for path in found if path.name != "__init__.py"]


def mutants_of(area: str, path: Path) -> list[Mutant]:
    """Every mutant of a file that changes what runs."""
    text, found = path.read_text(), []
    for name in OPERATORS:
        operator: Any = plugins.get_operator(f"core/{name}")()
        for occurrence in range(10_000):
            code = mutate_code(text, operator, occurrence)
            if code is None:
                break
            if runs_alike(text, code):
                continue
            found.append(Mutant(area, str(path.relative_to(ROOT)), name, code))
    return found


def runs_alike(text: str, code: str) -> bool:
    """Whether two sources differ in annotations alone."""
    return _without_annotations(text) == _without_annotations(code)


def _without_annotations(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def trial(mutant: Mutant, seconds: float, everything: bool) -> Outcome:
    """Run the tests on a mutant, in a copy of the tree."""
    with tempfile.TemporaryDirectory(prefix="autoprec-mutant-") as text:
        copy = Path(text)
        for name in ("autoprec", "tests", "scripts"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, copy / name)
        (copy / "studies").symlink_to(ROOT / "studies")
        (copy / mutant.path).write_text(mutant.code)
        for tests in [AREAS[mutant.area][1], *([("tests",)] if everything else [])]:
            fate = run_tests(copy, tests, seconds)
            if fate != "survived":
                break
    print(f"{fate}: {mutant.path} {mutant.operator}", flush=True)
    return Outcome(mutant, fate)


def run_tests(copy: Path, tests: Sequence[str], seconds: float) -> str:
    """`killed` where a test fails, `hung` where they do not end in time, else `survived`."""
    there = [name for name in tests if (copy / name).exists()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *there]
    settings = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=copy, env=settings, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        return "killed" if process.wait(seconds) else "survived"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return "hung"


def changed(mutant: Mutant) -> str:
    """The lines that a mutant changes, as a diff without context."""
    before = (ROOT / mutant.path).read_text().splitlines()
    lines = difflib.unified_diff(before, mutant.code.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


def page(outcomes: Sequence[Outcome], arguments: argparse.Namespace) -> str:
    """The results as Markdown."""
    fates = Counter((outcome.mutant.area, outcome.fate) for outcome in outcomes)
    dead = sum(outcome.fate != "survived" for outcome in outcomes)
    command = f"python scripts/proofs/mutate.py --count {arguments.count} --seed {arguments.seed}"
    share = f"{dead} of {len(outcomes)} mutants ({dead / max(1, len(outcomes)):.0%})"
    lines = [
        f"# Random mutants, {datetime.date.today().isoformat()}",
        "",
        f"`{command}`: the tests kill {share}.",
        "",
        "| area | killed | hung | survived |",
        "|---|---|---|---|",
        *(
            f"| {area} | {fates[area, 'killed']} | {fates[area, 'hung']} | {fates[area, 'survived']} |"
            for area in AREAS
        ),
        "",
        "## Survivors",
        "",
    ]
    for outcome in outcomes:
        if outcome.fate == "survived":
            lines += [f"`{outcome.mutant.path}`", "", "```diff", changed(outcome.mutant), "```", ""]
    return "\n".join(lines)


def main() -> None:
    """Draw, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="for one run of tests, before it counts as hung"
    )
    parser.add_argument("--area", action="append", choices=list(AREAS), help="these alone; may be repeated")
    parser.add_argument(
        "--area-tests-only", action="store_true", help="do not run the whole suite on survivors"
    )
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    mutants = draw(arguments.count, arguments.area or list(AREAS), random.Random(arguments.seed))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        everything = not arguments.area_tests_only
        outcomes = list(pool.map(lambda mutant: trial(mutant, arguments.seconds, everything), mutants))
    today = datetime.date.today().isoformat()
    target = arguments.output or ROOT / "studies" / "results" / f"mutants_{today}.md"
    target.write_text(page(outcomes, arguments))
    print(target)


if __name__ == "__main__":
    main()
