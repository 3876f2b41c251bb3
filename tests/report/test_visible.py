"""Names may be anybody's: what is shown steers no terminal."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from rich.console import Group
from rich.text import Text

from autoprec.report import Drawing, HarmlessConsole, as_json, blocks_table, trial_view, visible
from trial_records import BLOCKS, complete

EVIL = "\x1b[2J\x9b1m\x07\u202e\u200b\u2060\xad\U000e0041"


def shown(view: object) -> str:
    console = HarmlessConsole(file=io.StringIO(), width=200, force_terminal=True)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_names_in_tables_and_lines_are_made_visible() -> None:
    block = msgspec.structs.replace(BLOCKS[0], name=f"stem{EVIL}")
    for view in (blocks_table((block,)), Text(EVIL), trial_view(complete(0, 5.0, 0.1), (block,))):
        text = shown(view)
        assert "\x1b[2J" not in text
        assert not set("\x9b\x07\u202e\u200b\u2060\xad\U000e0041") & set(text)


def test_a_line_break_in_a_name_begins_no_line() -> None:
    block = msgspec.structs.replace(BLOCKS[0], name="stem\nfake")
    for view in (Group(blocks_table((block,))), Group(Text("a\nfake", "bold")), Group("a\nfake")):
        assert [line for line in shown(view).splitlines() if line.strip().startswith("fake")] == []
    for drawing in (Drawing(Text("a\nb")), Group(Drawing(Text("a\nb")))):
        assert [line.strip() for line in shown(drawing).splitlines()] == ["a", "b"]


def test_styles_stay() -> None:
    assert "\x1b[" in shown(Text("same", "green"))


def test_json_says_the_same_in_harmless_characters() -> None:
    text = as_json({"name": EVIL})
    assert text.isascii()
    assert json.loads(text) == {"name": EVIL}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a\nb", r"a\nb"),
        ("😀 ü 中", "😀 ü 中"),
        ("👩‍🚀", "👩‍🚀"),
        ("\udcff", r"\udcff"),
        ("\x7f", r"\x7f"),
        ("a\u200db", r"a\u200db"),
    ],
)
def test_what_steers_is_spelled_and_the_rest_stays(name: str, says: str) -> None:
    assert visible(name) == says
