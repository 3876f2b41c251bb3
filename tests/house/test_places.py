"""The map of the house holds: what documents and scripts name is there, and no folder or file is a hall."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"(?<![\w/.{}-])(?:autoprec|docs|scripts|studies|tests)/[\w./*-]*\w")
MADE = re.compile(r"studies/(?!data/|models/|results/)")
"""What `init` and a search write."""
CODE = sorted(
    path.relative_to(ROOT)
    for folder in ("autoprec", "scripts", "tests")
    for path in (ROOT / folder).rglob("*.py")
)
MAPS = sorted(
    path.relative_to(ROOT)
    for name in ("*.md", "docs/**/*.md", "studies/*/*.md", ".ci/*", "scripts/*")
    for path in ROOT.glob(name)
    if path.is_file()
)
pytestmark = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="a part of the tree alone")


@pytest.mark.parametrize("path", MAPS, ids=str)
def test_a_path_that_is_named_is_there(path: Path) -> None:
    for name in set(NAMED.findall((ROOT / path).read_text())):
        assert MADE.match(name) or list(ROOT.glob(name)), f"{path} names {name}"


@pytest.mark.parametrize("path", [path for path in CODE if path.parts[0] == "scripts"], ids=str)
def test_a_script_counts_its_way_to_the_root_right(path: Path) -> None:
    for steps in re.findall(
        r"Path\(__file__\)(?:\.resolve\(\))?\.parents\[(\d)\]", (ROOT / path).read_text()
    ):
        assert int(steps) == len(path.parts) - 1


def test_a_folder_has_fifteen_files_at_most() -> None:
    files = Counter(path.parent for path in CODE)
    assert {str(folder): count for folder, count in files.items() if count > 15} == {}


def test_a_file_of_tests_or_scripts_has_300_lines_at_most() -> None:
    lines = {str(path): (ROOT / path).read_text().count("\n") for path in CODE}
    assert {path: count for path, count in lines.items() if count > 300} == {}
