"""Random mutants of the code where a fault would be silent, by the operators of cosmic-ray.

An operator exchanged, a number changed, a condition negated, a loop that does not run. Changes that no run
can show are left out: annotations, the `*` of a signature taken for a product, a `zip` that no longer checks
what always holds.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

ROOT = Path(__file__).resolve().parents[3]
AREAS: dict[str, tuple[str, ...]] = {
    "writer": ("autoprec/graph/rewrite/*.py", "autoprec/graph/grids/*.py"),
    "placement": ("autoprec/graph/ops/*.py", "autoprec/legality/*.py"),
    "ranges": ("autoprec/graph/statistics/*.py", "autoprec/graph/variants/*.py", "autoprec/calibration.py"),
    "timing": ("autoprec/backends/timing.py", "autoprec/backends/ratios.py"),
    "store": ("autoprec/store/**/*.py", "autoprec/records/*.py"),
    "strategy": ("autoprec/search/**/*.py",),
    "audit": (
        "autoprec/measurement/audit.py",
        "autoprec/backends/openvino_nodes.py",
        "autoprec/backends/tensorrt/layers.py",
    ),
    "loading": (
        "autoprec/graph/model/*.py",
        "autoprec/graph/model/incoming/*.py",
        "autoprec/graph/blocks/*.py",
    ),
    "metrics": ("autoprec/quality/**/*.py",),
}
"""The files to mutate, by area."""
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


class Mutant(msgspec.Struct, frozen=True):
    """One change of one file: `code` is the whole changed file, `original` the digest of the file before."""

    area: str
    path: str
    operator: str
    code: str
    original: str = ""

    @property
    def is_of_this_tree(self) -> bool:
        """Whether the file is still the one that was mutated; in any other the mutant would change more."""
        path = ROOT / self.path
        return path.is_file() and digest_of(path.read_text(encoding="utf-8")) == self.original

    def lines(self) -> frozenset[int]:
        """Numbers of the changed lines of the file."""
        before, after = (ROOT / self.path).read_text().splitlines(), self.code.splitlines()
        changes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        return frozenset(
            number
            for kind, first, last, *_ in changes
            if kind != "equal"
            for number in range(first + 1, last + 1)
        )

    def diff(self) -> str:
        """The changed lines as a diff without context."""
        before = (ROOT / self.path).read_text().splitlines()
        lines = difflib.unified_diff(before, self.code.splitlines(), lineterm="", n=0)
        return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


class Place(NamedTuple):
    """The `occurrence`-th place of a file that an operator can change."""

    path: Path
    operator: str
    occurrence: int


def draw(count: int, areas: Sequence[str], generator: random.Random) -> list[Mutant]:
    """Random mutants of different places, equally many in each area, in random order."""
    drawn: list[Mutant] = []
    for number, area in enumerate(areas):
        wanted = count // len(areas) + (number < count % len(areas))
        places = [place for path in files_of(area) for place in places_of(path)]
        generator.shuffle(places)
        mutants = (mutant_at(area, place) for place in places)
        drawn += islice(filter(None, mutants), wanted)
    generator.shuffle(drawn)
    return drawn


def files_of(area: str) -> list[Path]:
    """The files of an area."""
    matches = (path for pattern in AREAS[area] for path in sorted(ROOT.glob(pattern)))
    return [path for path in matches if path.name != "__init__.py"]


def places_of(path: Path) -> list[Place]:
    """Everything in a file that an operator can change."""
    from cosmic_ray import plugins  # noqa: PLC0415 - only drawing needs it
    from cosmic_ray.ast import ast_nodes, get_ast  # noqa: PLC0415

    nodes, places = list(ast_nodes(get_ast(path.read_text()))), []
    for name in OPERATORS:
        operator: Any = plugins.get_operator(f"core/{name}")()
        count = sum(len(list(operator.mutation_positions(node))) for node in nodes)
        places += [Place(path, name, occurrence) for occurrence in range(count)]
    return places


def mutant_at(area: str, place: Place) -> Mutant | None:
    """The mutant of a place; None if the change cannot show in any run."""
    from cosmic_ray import plugins  # noqa: PLC0415
    from cosmic_ray.mutating import mutate_code  # noqa: PLC0415

    text = place.path.read_text()
    code = mutate_code(text, plugins.get_operator(f"core/{place.operator}")(), place.occurrence)
    if code is None or runs_alike(text, code):
        return None
    return Mutant(area, str(place.path.relative_to(ROOT)), place.operator, code, digest_of(text))


def digest_of(text: str) -> str:
    """SHA-256 of a source."""
    return hashlib.sha256(text.encode()).hexdigest()


def runs_alike(text: str, code: str) -> bool:
    """Whether two sources differ only in what no run can show, or the second does not parse."""
    try:
        return _what_runs(text) == _what_runs(code)
    except SyntaxError:  # such as `not` before an assignment expression
        return True


def _what_runs(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arguments):
            node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
            node.defaults += filter(None, node.kw_defaults)
            node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "zip":
            node.keywords = []
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)
