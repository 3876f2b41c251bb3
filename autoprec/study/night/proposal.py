"""What a night measures next."""

from __future__ import annotations

from typing import NamedTuple

from autoprec.records import Assignment, Origin


class Proposal(NamedTuple):
    """What to measure next, and where it comes from; it gets a number when its trial begins."""

    assignment: Assignment
    origin: Origin
    label: str = ""
