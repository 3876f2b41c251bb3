"""A table for any width: the least important columns are dropped first, but never the one that names rows.

What was dropped is named below. If even the remaining columns are too wide together, they are split into
tables below one another, each with the column that names the rows. Nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from autoprec.report.terminal.harmless import one_line
from autoprec.visible import visible

_NARROWEST = 12
"""Least width in characters of a column that is wrapped, if its cells are that long."""


class Column(NamedTuple):
    """One column of a table, whose first column names the rows.

    Columns of the highest `rank` are dropped first, those of rank 0 never. Cells longer than `widest`
    characters are wrapped.
    """

    title: str
    cells: Sequence[str | Text]
    rank: int = 0
    right: bool = True
    widest: int | None = None


class Columns:
    """Columns of equal length as a table; `styles` are the styles of its rows."""

    def __init__(self, columns: Sequence[Column], styles: Sequence[str] = ()) -> None:
        self._columns = columns
        self._styles = styles

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        kept, width = list(self._columns), options.max_width
        left_out: list[str] = []
        # Before anything is wrapped: one wrapped cell makes its row tall, and rows are compared by eye.
        while _total(map(_widest, kept)) > width:
            droppable = max(kept[1:], key=lambda column: column.rank, default=kept[0])
            if droppable.rank == 0:
                break
            kept.remove(droppable)
            left_out.insert(0, droppable.title)
        for place, part in enumerate(_parts(kept, width)):
            if place:
                yield Text()
            yield self._table(part, width)
        # Once each: two columns are called `interval`.
        if left_out:
            yield Text(visible(f"left out at this width: {', '.join(dict.fromkeys(left_out))}"), "dim")

    def _table(self, columns: Sequence[Column], width: int) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0)
        )
        for column, size in zip(columns, _widths(columns, width), strict=True):
            table.add_column(
                Text(visible(column.title), no_wrap=False, overflow="fold"),
                justify="right" if column.right else "left",
                no_wrap=column.right,
                # By itself rich cuts what is too long with an ellipsis: half a figure is a wrong one.
                overflow="fold",
                width=size,
            )
        for number, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
            texts = (one_line(cell if isinstance(cell, Text) else Text(cell)) for cell in cells)
            table.add_row(*texts, style=self._styles[number] if self._styles else None)
        return table


def _parts(columns: Sequence[Column], width: int) -> Iterator[Sequence[Column]]:
    """The columns in as few tables as possible, each narrow enough and with the first column."""
    first, *rest = columns
    part = [first]
    for column in rest:
        if len(part) > 1 and _total(_narrowest([*part, column], width)) > width:
            yield part
            part = [first]
        part.append(column)
    yield part


def _widths(columns: Sequence[Column], width: int) -> Iterator[int]:
    """The width of each column: its least, plus what is left, given to columns from the left."""
    narrowest = list(_narrowest(columns, width))
    left = width - _total(narrowest)
    for column, least in zip(columns, narrowest, strict=True):
        more = max(0, min(left, _widest(column) - least))
        left -= more
        yield least + more


def _total(widths: Iterable[int]) -> int:
    """The total width with the gaps between columns."""
    sizes = list(widths)
    return sum(sizes) + 2 * (len(sizes) - 1)


def _cells(column: Column) -> int:
    lengths = (one_line(cell if isinstance(cell, Text) else Text(cell)).cell_len for cell in column.cells)
    return max(lengths, default=0)


def _widest(column: Column) -> int:
    """The width that needs no wrapping, within the column's `widest`."""
    widest = max(cell_len(column.title), _cells(column))
    return widest if column.widest is None else min(widest, column.widest)


def _longest_word(column: Column) -> int:
    words = (word for cell in column.cells for word in str(cell).split())
    return max(map(cell_len, words), default=0)


def _narrowest(columns: Sequence[Column], width: int) -> Iterator[int]:
    """The least width of each column."""
    first, *rest = columns
    # Figures are never wrapped, and words not broken up to half of the table.
    others = [
        max(_cells(column), min(cell_len(column.title), width // 4))
        if column.right
        else min(_widest(column), max(_NARROWEST, min(_longest_word(column), width // 2)))
        for column in rest
    ]
    # The names of rows stay whole if another column fits beside them; otherwise they get half of the table.
    beside = width - _total([max(others, default=0), 0])
    whole = _widest(first)
    yield whole if first.right or whole <= beside else width // 2
    yield from others
