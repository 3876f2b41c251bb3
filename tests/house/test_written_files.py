"""What autoprec writes is opened in one of the ways of `autoprec.files`, which follow no link and no pipe."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from package_source import MODULES, each_folder, named, parsed

FRESH = {
    "exporters/": "an export grows in a folder that did not exist before",
    "demo/": "an empty folder of the user's",
    "backends/target/": "on the target, where a part takes its name once it is whole",
    "cli/_boundary.py": "a file that mkstemp has made, and the null device",
    "files.py": "the one place",
    "legality/patterns.py": "a scratch folder",
    "measurement/fidelity/raising.py": "a folder that was emptied",
    "measurement/inspection.py": "an export's, or one that was emptied",
    "measurement/workbench.py": "a file of the kernel's",
    "study/overview/clearing.py": "what was seen to be a folder",
    "study/shipping/export.py": "a scratch folder",
}
"""Where files are written by their names, and why no link can lie there."""


def writes(tree: ast.AST) -> Iterator[str]:
    """Calls that write a file by its name, and would follow a link that has it."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function, words = ast.unparse(call.func), {word.arg: word.value for word in call.keywords}
        place, _, name = function.rpartition(".")
        texts = [*call.args, *words.values()]
        modes = [one.value for one in texts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        is_writing = any(len(mode) < 4 and set(mode) & set("wa+") and "x" not in mode for mode in modes)
        if name == "open" and is_writing and ast.unparse(words.get("opener", call)) != "not_following":
            yield ast.unparse(call)
        # `part` is what `replacing` gives.
        if name in ("write_text", "write_bytes") and place != "part":
            yield ast.unparse(call)
        if function == "shutil.rmtree":  # which waits at a pipe: `remove_folder` does not
            yield ast.unparse(call)
        is_writer = function in ("onnx.save", "onnx.save_model", "shutil.copyfile", "np.save", "ZipFile")
        if is_writer and "part" not in map(ast.unparse, call.args):
            yield ast.unparse(call)


@each_folder
def test_a_file_is_written_in_a_way_that_follows_no_link(folder: Path) -> None:
    calls_of = {named(path): [*writes(parsed(path))] for path in folder.glob("*.py")}
    assert not [name for name, calls in calls_of.items() if calls and not name.startswith(tuple(FRESH))]


@pytest.mark.parametrize("place", FRESH)
def test_an_exception_is_one(place: str) -> None:
    assert any([*writes(parsed(path))] for path in MODULES if named(path).startswith(place))


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("path.open('wb')", True),
        ("open(path, 'a+')", True),
        ("path.open(mode='w')", True),
        ("path.write_text('a')", True),
        ("open(path, 'ab', opener=not_following)", False),
        ("part.write_bytes(data)", False),
        ("part.open('x+b')", False),
        ("shutil.copyfile(path, aside)", True),
        ("shutil.copyfile(path, part)", False),
        ("path.open('rb')", False),
    ],
)
def test_the_rule_tells_them_apart(line: str, is_one: bool) -> None:
    assert bool([*writes(ast.parse(line))]) == is_one
