"""The base of all records."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records: immutable, compared by value, keyword-only."""


class Interval(Record, frozen=True, kw_only=True):
    """A two-sided confidence interval from `low` to `high`; `level` is its nominal coverage."""

    low: float
    high: float
    level: float = 0.95

    def scaled(self, factor: float) -> Interval:
        """Both ends times a positive factor."""
        return Interval(low=self.low * factor, high=self.high * factor, level=self.level)
