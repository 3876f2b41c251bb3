"""What counts towards a run's budget, kept up to date trial by trial."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from autoprec.records import TrialRecord
from autoprec.store import CLOCKS_SECONDS, Run

_RECENT = 200
"""How many recent trials predict the duration of the next one."""
_UNORDERED = timedelta(seconds=2 * CLOCKS_SECONDS)
"""How much earlier than another a trial may begin that has a higher number: clocks of hosts differ."""
_Span = tuple[datetime, datetime]


@dataclass
class Tally:
    """Trials that count towards one run's budget.

    Attributes:
        searching: number of trials that are no second measurement.
        finalists: number of second measurements.
        seconds: durations of the latest ones to end.
    """

    searching: int = 0
    finalists: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    @property
    def usual_seconds(self) -> float:
        """Median duration of recent trials; 0 before the first has ended."""
        return median(self.seconds) if self.seconds else 0.0

    def add(self, record: TrialRecord, sign: int = 1) -> None:
        """Count a trial; a `sign` of -1 takes it back, because it was running and has changed."""
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
        """Trials that name no run, by number: those of older versions, and refined ones."""

    def learn(self, record: TrialRecord, before: TrialRecord | None) -> None:
        """Count a trial in place of its earlier state."""
        if record.run is None:
            self._homeless[record.number] = record
            return
        if before is not None:
            self._by_run[record.run].add(before, -1)
        self._by_run[record.run].add(record)

    def of(self, run: Run) -> Tally:
        """A run's tally; trials that name no run belong to the one during which they were measured."""
        named = self._by_run[run.id]
        tally = Tally(named.searching, named.finalists, named.seconds.copy())
        for record in self._homeless.values():
            if record.number >= run.first:
                tally.add(record)
        return tally


def spent(records: Iterable[TrialRecord], run: Run) -> list[TrialRecord]:
    """The trials of a run that count towards its budget, for searching and for watching alike."""
    return [
        record
        for record in records
        if (record.run == run.id if record.run is not None else record.number >= run.first) and record.counts
    ]


def seconds_of(records: Iterable[TrialRecord]) -> float:
    """Seconds of wall time in which at least one of the trials was running."""
    # The union of their times: parallel trials share theirs, and pauses between runs are not counted.
    ended = sorted((record for record in records if record.end), key=lambda record: record.number)
    return sum(map(_union, _by_clock(ended)))


def _by_clock(records: Iterable[TrialRecord]) -> list[list[_Span]]:
    """Start and end of trials, by number, between one setting back of the clock and the next: what it shows
    twice are different times."""
    spans: list[list[_Span]] = [[]]
    latest = None
    for record in records:
        start, end = datetime.fromisoformat(record.start), datetime.fromisoformat(record.end)
        if latest is not None and start < latest - _UNORDERED:
            spans.append([])
            latest = None
        latest = start if latest is None else max(latest, start)
        spans[-1].append((start, end))
    return spans


def _union(spans: Iterable[_Span]) -> float:
    """Seconds in at least one of the spans."""
    seconds, until = 0.0, None
    for start, end in sorted(spans):
        begin = start if until is None else max(start, until)
        seconds += max(0.0, (end - begin).total_seconds())
        until = end if until is None else max(until, end)
    return seconds
