"""Runs of a search, as stored."""

from __future__ import annotations

from autoprec.records import Record
from autoprec.store._schema import RUNS
from autoprec.store._seals import Row, check


class Run(Record, frozen=True, kw_only=True):
    """One night: when it ran, what it was allowed, how many trials it finished. `end` is empty if killed.

    `first` is the number of its first trial: numbers show which trials are whose; clocks can be set back.
    """

    id: int
    study: str
    start: str
    end: str
    budget: str
    trials: int
    first: int


def run_of(row: Row) -> Run:
    """A row of the table. Raises `StudyError` if it is damaged."""
    check(RUNS, row)
    return Run(**{name: row[name] for name in Run.__struct_fields__})
