"""A table that leaves its least important columns out where the terminal is too narrow for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from autoprec.visible import visible


class Column(NamedTuple):
    """One column; `rank` 0 always stays, the highest goes first. `cells` are plain text or styled; those
    longer than `widest` characters go on in another line."""

    title: str
    cells: Sequence[str | Text]
    rank: int = 0
    right: bool = True
    widest: int | None = None


class Columns:
    """Columns of equal length as a table; `styles` are those of its rows."""

    def __init__(self, columns: Sequence[Column], styles: Sequence[str] = ()) -> None:
        self._columns = columns
        self._styles = styles

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        kept = list(self._columns)
        while True:
            table = self._table(kept)
            fits = Measurement.get(console, options.update_width(10_000), table).maximum <= options.max_width
            droppable = max(kept, key=lambda column: column.rank)
            if fits or droppable.rank == 0:
                yield table
                return
            kept.remove(droppable)

    def _table(self, columns: Sequence[Column]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                no_wrap=column.right,
                overflow="fold",
                max_width=column.widest,
            )
        for number, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
            texts = (cell if isinstance(cell, Text) else Text(visible(cell)) for cell in cells)
            table.add_row(*texts, style=self._styles[number] if self._styles else None)
        return table
