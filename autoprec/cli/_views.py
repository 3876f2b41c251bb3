"""What several commands show of a study: its front, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType

from autoprec.cli import _parts as parts
from autoprec.cli._app import answer, console

if TYPE_CHECKING:
    from autoprec.study import Study


def front_view(chosen: Study) -> RenderableType:
    """The front with its anchors, and with what `export` would take marked."""
    front, reference, accepted = chosen.front(), chosen.reference(), chosen.spec.search.accepted_loss
    picks = parts.picks(front, reference, accepted) if reference is not None else {}
    return parts.front_table(front, reference, chosen.trials(), picks, accepted)


def show_end(chosen: Study, named: str | None) -> None:
    """What a search leaves: plot, front, and the commands to type next; `named` is the study's option."""
    front, reference = chosen.front(), chosen.reference()
    console.print(parts.front_plot(chosen.trials(), reference, width=console.width), markup=False)
    console.print(front_view(chosen))
    if reference is not None and front:
        accepted = chosen.spec.search.accepted_loss
        picks = parts.picks(front, reference, accepted)
        for line in parts.next_steps(picks, reference, accepted, named or ""):
            answer(line)
