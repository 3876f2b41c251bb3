"""A Vega-Lite chart as notebooks show it, and as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from autoprec.errors import UserError
from autoprec.report.files import write_file
from autoprec.report.vega import vega

_WIDTH = 640
_LOOKS = {"background": "white", "font": "sans-serif", "view": {"stroke": None}}
"""On white, because what shows the chart may be light or dark."""
_MAKERS: dict[str, Callable[[dict[str, Any]], str | bytes]] = {
    # With Vega in it, for a file that has to open where there is no network.
    ".html": lambda spec: vega("vegalite_to_html", spec, bundle=True),
    ".json": lambda spec: msgspec.json.format(msgspec.json.encode(spec), indent=2),
    # Two pixels for a point of the drawing: one is coarse on today's screens.
    ".png": lambda spec: vega("vegalite_to_png", spec, scale=2.0),
    ".svg": lambda spec: vega("vegalite_to_svg", spec),
}


class Chart:
    """A chart, shown by a notebook if it is the value of a cell.

    Args:
        spec: a Vega-Lite specification; its width is replaced.
        title: shown above the chart.

    `altair.Chart.from_dict(chart.spec)` continues with it in Altair.
    """

    def __init__(self, spec: dict[str, Any], title: str = "") -> None:
        self.spec = {**spec, "width": _WIDTH, "title": title, "config": _LOOKS}
        """The Vega-Lite specification, with its data."""

    def __repr__(self) -> str:
        return f"Chart({self.spec['title']!r}); a notebook shows it, `save` writes it to a file"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """A picture for all notebooks, and Vega-Lite for those that draw it themselves, with tool tips."""
        return {
            "application/vnd.vegalite.v6+json": self.spec,
            "image/svg+xml": vega("vegalite_to_svg", self.spec).decode(),
            "text/plain": repr(self),
        }

    def save(self, path: Path | str) -> Path:
        """Write the chart as .html, .json, .png or .svg, by the suffix of `path`. Needs no network.

        Raises `UserError` for another suffix, `StudyError` if the file cannot be written.
        """
        target = Path(path)
        if target.suffix not in _MAKERS:
            raise UserError(
                f"{target}: cannot be written as {target.suffix!r}; end it in {', '.join(_MAKERS)}"
            )
        return write_file(target, _MAKERS[target.suffix](self.spec))
