"""What a run measures next."""

from __future__ import annotations

from typing import NamedTuple

from autoprec.records import Assignment, Origin


class Proposal(NamedTuple):
    """An assignment to measure, and its origin; it is numbered when its trial begins."""

    assignment: Assignment
    origin: Origin
    label: str = ""
