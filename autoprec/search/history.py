"""A study's trials so far, as arrays.

Owns the reading of stored trials for all strategies; the surrogates learn from the arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import BLAMELESS
from autoprec.records import TrialRecord
from autoprec.search.fronts import front_mask
from autoprec.search.space import Codes, Floats, Row, Space

Standing = Literal["measured", "running", "failed", "blameless"]


class Outcome(NamedTuple):
    """One trial as strategies see it. Latency (ms) and loss are NaN unless it was measured.

    `excess` (MB) is how far the trial exceeds its limits, by the worst; negative within them, 0 without any.
    """

    row: Row
    standing: Standing
    latency_ms: float
    loss: float
    excess: float


class Trials:
    """The outcome of each trial that says something about its assignment, by trial number.

    Left out: trials of refined weights, which say little about the plain assignment; reused measurements,
    which are no second observation; and assignments that are no longer legal.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._outcomes: dict[int, Outcome] = {}
        self.next_number = 0

    def learn(self, records: Iterable[TrialRecord]) -> dict[int, Outcome]:
        """Take in records; returns the outcomes, by trial number, that are new or have changed."""
        changed = {}
        for record in records:
            self.next_number = max(self.next_number, record.number + 1)
            if record.origin in ("refined", "reused") or record.assignment.weights:
                continue
            row = self._space.encode(record.assignment.as_dict())
            if row is None:
                continue
            outcome = Outcome(row, _standing(record), record.latency_ms, record.loss, record.excess_mb)
            if not _same(self._outcomes.get(record.number), outcome):
                changed[record.number] = self._outcomes[record.number] = outcome
        return changed

    def history(self) -> History:
        """All outcomes so far, as arrays."""
        return History.of(self._space, self._outcomes.values())


@dataclass(frozen=True, slots=True)
class History:
    """Outcomes in the search space, as arrays.

    Attributes:
        measured: (n, blocks) codes of complete trials.
        values: (n, 2) their latency_ms and loss.
        excess: (n,) MB above a limit; 0 or less is within all limits.
        pending: codes of running trials.
        failed: codes of trials that failed by their own fault and were never measured.
        known: rows that must not be proposed, since they were or are being tried.
    """

    measured: Codes
    values: Floats
    excess: Floats
    pending: Codes
    failed: Codes
    known: frozenset[Row]

    @property
    def front(self) -> NDArray[np.bool_]:
        """(n,) which of the measured are on the front of those within all limits."""
        mask = self.feasible
        mask[mask] = front_mask(self.values[mask])
        return mask

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """(n,) which of the measured are within all limits."""
        return np.asarray(self.excess <= 0)

    @classmethod
    def of(cls, space: Space, outcomes: Iterable[Outcome]) -> History:
        """Group outcomes by standing.

        A blameless failure says nothing about its assignment, which is still not proposed: whether it is
        tried again is the study's decision.
        """
        by_standing: dict[Standing, list[Outcome]] = {
            "measured": [],
            "running": [],
            "failed": [],
            "blameless": [],
        }
        for outcome in outcomes:
            by_standing[outcome.standing].append(outcome)
        measured = by_standing["measured"]
        seen = {outcome.row for outcome in measured}
        pending = {outcome.row for outcome in by_standing["running"]}
        failed = {outcome.row for outcome in by_standing["failed"]}
        stopped = {outcome.row for outcome in by_standing["blameless"]}
        return cls(
            measured=space.codes([outcome.row for outcome in measured]),
            values=np.array([(o.latency_ms, o.loss) for o in measured], dtype=float).reshape(-1, 2),
            excess=np.array([outcome.excess for outcome in measured], dtype=float),
            # Sorted, because proposals must depend on seed and trials alone, not on the order within a set.
            pending=space.codes(sorted(pending - seen)),
            failed=space.codes(sorted(failed - seen)),
            known=frozenset(seen | pending | failed | stopped),
        )


def _same(one: Outcome | None, other: Outcome) -> bool:
    # A failed trial's figures are NaN, which equals nothing: so it would look new each time.
    return one is not None and one[:2] == other[:2] and np.array_equal(one[2:], other[2:], equal_nan=True)


def _standing(record: TrialRecord) -> Standing:
    if record.state == "running":
        return "running"
    if record.failure is not None and record.failure.kind in BLAMELESS:
        return "blameless"
    finite = bool(np.isfinite((record.latency_ms, record.loss)).all())
    return "measured" if record.state == "complete" and finite else "failed"
