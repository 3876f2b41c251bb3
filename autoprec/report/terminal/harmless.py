"""A terminal that no name steers: Rich's console and texts, with what `visible` shows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from autoprec.visible import BREAKS, STEERING, escaped, harmless, visible


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
    marks = sorted((*STEERING.finditer(text.plain), *BREAKS.finditer(text.plain)), key=re.Match.start)
    if not marks:
        return text
    parts, place = [], 0
    for match in marks:
        parts += [text[place : match.start()], Text(escaped(match))]
        place = match.end()
    shown = Text("", text.style).join([*parts, text[place:]])
    shown.no_wrap, shown.overflow, shown.justify = text.no_wrap, text.overflow, text.justify
    return shown


console = HarmlessConsole()
"""The command line's."""
