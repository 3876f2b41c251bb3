"""What counts for a run's budget, kept up as trials come in: nothing is counted anew for each proposal."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from autoprec.records import TrialRecord
from autoprec.store import Run

_RECENT = 200
"""Trials whose seconds say what the next one will take."""


@dataclass
class Tally:
    """Trials that count for one run.

    Attributes:
        searching: how many are no second measurement.
        finalists: how many are.
        seconds: what those that ended lately took.
    """

    searching: int = 0
    finalists: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    @property
    def usual_seconds(self) -> float:
        """What a trial took lately, in the median; 0 before the first has ended."""
        return median(self.seconds) if self.seconds else 0.0

    def add(self, record: TrialRecord, sign: int = 1) -> None:
        """Count a trial; with a `sign` of -1, take it back: it was running, and is something else now."""
        if not record.counts:
            return
        if record.origin == "finalist":
            self.finalists += sign
        else:
            self.searching += sign
        if record.end:
            self.seconds.append(seconds_of([record]))


class Tallies:
    """The tally of each run."""

    def __init__(self) -> None:
        self._by_run: defaultdict[int, Tally] = defaultdict(Tally)
        self._homeless: dict[int, TrialRecord] = {}
        """Trials that name no run, by number: those of versions before runs were named, and refined ones."""

    def learn(self, record: TrialRecord, before: TrialRecord | None) -> None:
        """Count a trial in place of what was known of it before."""
        if record.run is None:
            self._homeless[record.number] = record
            return
        if before is not None:
            self._by_run[record.run].add(before, -1)
        self._by_run[record.run].add(record)

    def of(self, run: Run) -> Tally:
        """A run's tally; trials that name none are those of the run that they were measured in."""
        named = self._by_run[run.id]
        tally = Tally(named.searching, named.finalists, named.seconds.copy())
        for record in self._homeless.values():
            if record.number >= run.first:
                tally.add(record)
        return tally


def spent(records: Iterable[TrialRecord], run: Run) -> list[TrialRecord]:
    """Those of a run that count for its budget; who searches and who watches count alike."""
    return [
        record
        for record in records
        if (record.run == run.id if record.run is not None else record.number >= run.first) and record.counts
    ]


def seconds_of(records: Iterable[TrialRecord]) -> float:
    """Wall time in which at least one of the trials was measured, in seconds: neither pauses nor kills."""
    spans = sorted(
        (datetime.fromisoformat(record.start), datetime.fromisoformat(record.end))
        for record in records
        if record.end
    )
    seconds, until = 0.0, None
    for start, end in spans:
        begin = start if until is None else max(start, until)
        seconds += max(0.0, (end - begin).total_seconds())
        until = end if until is None else max(until, end)
    return seconds
