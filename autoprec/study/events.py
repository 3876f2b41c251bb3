"""What a run reports as it proceeds. The terminal's live view is one listener, a log file another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autoprec.records import RunStart, TrialRecord


class Watcher(Protocol):
    """Receives every step of a run."""

    def say(self, message: str) -> None:
        """Report something in one line."""

    def starts(self, start: RunStart) -> None:
        """The run starts."""

    def begins(self, record: TrialRecord) -> None:
        """A trial begins."""

    def stage(self, name: str, trial: int | None = None) -> None:
        """A running trial moves to another step; called from the thread that waits for it."""

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """A trial has ended and is stored; `front` is the current one."""

    def stops(self) -> None:
        """The run will end after the trials in progress: somebody asked for it."""


class Quiet:
    """A watcher that reports nothing; one that inherits from it reports what it overrides."""

    def say(self, message: str) -> None:
        """Nothing."""

    def starts(self, start: RunStart) -> None:
        """Nothing."""

    def begins(self, record: TrialRecord) -> None:
        """Nothing."""

    def stage(self, name: str, trial: int | None = None) -> None:
        """Nothing."""

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """Nothing."""

    def stops(self) -> None:
        """Nothing."""
