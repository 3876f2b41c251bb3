"""What a night measures next."""

from __future__ import annotations

from typing import NamedTuple

from optuna.trial import Trial

from autoprec.records import Assignment, Origin


class Proposal(NamedTuple):
    """What to measure next, and where it comes from."""

    trial: Trial
    assignment: Assignment
    origin: Origin
    label: str = ""
