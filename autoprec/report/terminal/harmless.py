"""A terminal that names cannot control: Rich's console and texts, escaped as by `visible`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from autoprec.visible import BREAKS, STEERING, escaped, harmless, visible

_PLAIN = str.maketrans("●·┊┤│└─×≈…", "*.:+|+-x~.")
"""Our own signs and Rich's, one column each, for an output whose encoding lacks them."""


class Drawing:
    """Text whose line breaks are meant; any other text is one line, whatever names in it contain."""

    # Wrapped rather than derived: Rich joins instances of Text that are printed together, and would lose
    # the class.
    def __init__(self, text: Text) -> None:
        self._text = text

    @property
    def plain(self) -> str:
        """The text without styles."""
        return self._text.plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        yield from self._text.__rich_console__(console, options)


class HarmlessConsole(Console):
    """A console whose texts cannot contain markup or control sequences, since names may come from anybody."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Rich's segments, escaped, except for control segments that Rich itself makes."""
        if isinstance(renderable, str):
            renderable = visible(renderable)
        elif isinstance(renderable, Text):
            renderable = one_line(renderable)
        is_plain = (options or self.options).ascii_only
        for segment in super().render(renderable, options):
            text = segment.text.translate(_PLAIN) if is_plain else segment.text
            yield segment if segment.control else Segment(harmless(text), segment.style)

    def on_broken_pipe(self) -> None:
        """Nobody reads any longer: whoever prints hears of it, where Rich would end the process."""
        raise  # noqa: PLE0704 - called as `BrokenPipeError` is handled


def one_line(text: Text) -> Text:
    """A text escaped as by `visible`, with its styles."""
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
"""The console of the command line."""
