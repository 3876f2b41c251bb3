"""Names as they may be shown: what would steer a terminal, or reorder its text, is made visible."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_BREAKS = re.compile("[\t\n]")


def visible(text: str) -> str:
    """One line of `text`: control characters, line breaks and marks of direction as `\\x1b` or `\\u202e`."""
    return _BREAKS.sub(_escaped, harmless(text))


def harmless(text: str) -> str:
    """`text` with its line breaks and tabs, and the rest as in `visible`."""
    return _STEERING.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class Drawing:
    """Text whose line breaks are its own: any other text is one line, whatever the names in it hold.

    It is no `Text`, for Rich joins what is printed at a time into one.
    """

    def __init__(self, text: Text) -> None:
        self._text = text

    @property
    def plain(self) -> str:
        """Without styles."""
        return self._text.plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        yield from self._text.__rich_console__(console, options)


class HarmlessConsole(Console):
    """A terminal that styles text itself, and lets no text style anything: names may be anybody's."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is shown; those that Rich makes to steer the terminal stay."""
        if isinstance(renderable, str):
            renderable = visible(renderable)
        elif isinstance(renderable, Text):
            renderable = one_line(renderable)
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)


def one_line(text: Text) -> Text:
    """A text with its styles, as `visible` shows it."""
    found = sorted((*_STEERING.finditer(text.plain), *_BREAKS.finditer(text.plain)), key=re.Match.start)
    if not found:
        return text
    parts, place = [], 0
    for match in found:
        parts += [text[place : match.start()], Text(_escaped(match))]
        place = match.end()
    shown = Text("", text.style).join([*parts, text[place:]])
    shown.no_wrap, shown.overflow, shown.justify = text.no_wrap, text.overflow, text.justify
    return shown
