"""The result of verifying an export."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.records import Verification
from autoprec.visible import visible


def verification_view(verification: Verification) -> RenderableType:
    """One line for each figure, and the verdict."""
    lines = [
        Text.assemble(
            ("same  ", "green") if check.is_same else ("DIFFERS  ", "bold red"),
            check.name,
            ": ",
            visible(check.words),
        )
        for check in verification.checks
    ]
    verdict = Text("as recorded", "green") if verification.is_same else Text("not as recorded", "bold red")
    return Group(*lines, verdict)
