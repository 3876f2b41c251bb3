"""What a search would do."""

from __future__ import annotations

from autoprec.records._base import Record
from autoprec.records.blocks import Assignment, Block
from autoprec.records.studies import Origin


class PlannedTrial(Record, frozen=True, kw_only=True):
    """An assignment that would be measured; `label` names an anchor."""

    origin: Origin
    assignment: Assignment
    label: str = ""


class SearchPlan(Record, frozen=True, kw_only=True):
    """What the next run of a search would do.

    Attributes:
        study, strategy, seed, budget: what it would be started with.
        blocks: with what each may have; `is_judged` if the engine has been asked, not the operators alone.
        assignments: how many there are.
        trials_known: of earlier nights.
        trial_seconds, seconds: median of a trial and the whole run, in seconds; None before a trial was
            measured.
        peak_memory_bytes: the most that a trial took; None before one was measured.
        weight_bytes: of the model as it came.
        first: the first trials; before the anchors are measured, those alone are known.
    """

    study: str
    strategy: str
    seed: int
    budget: str
    blocks: tuple[Block, ...]
    is_judged: bool
    assignments: int
    trials_known: int
    trial_seconds: float | None
    seconds: float | None
    peak_memory_bytes: int | None
    weight_bytes: int
    first: tuple[PlannedTrial, ...]
