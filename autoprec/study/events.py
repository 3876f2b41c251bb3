"""What a run reports as it proceeds, to listeners such as the terminal's live view or a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autoprec.records import Reference, RunStart, TrialRecord


class Watcher(Protocol):
    """Receives every step of a run."""

    def say(self, message: str) -> None:
        """Report something in one line."""

    def starts(self, start: RunStart) -> None:
        """The run starts."""

    def refers(self, reference: Reference) -> None:
        """FP32 is measured too, so that the reference is known, if it was not when the run started."""

    def begins(self, record: TrialRecord) -> None:
        """A trial begins."""

    def stage(self, name: str, trial: int | None = None) -> None:
        """A running trial moves to another step; called from the thread that waits for it."""

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """A trial has ended and is stored; `front` is the current one."""

    def stops(self) -> None:
        """The run was asked to stop, and ends after the trials in progress."""


class Quiet:
    """A watcher that reports nothing; subclasses override what they report."""

    def say(self, message: str) -> None:
        """Do nothing."""

    def starts(self, start: RunStart) -> None:
        """Do nothing."""

    def refers(self, reference: Reference) -> None:
        """Do nothing."""

    def begins(self, record: TrialRecord) -> None:
        """Do nothing."""

    def stage(self, name: str, trial: int | None = None) -> None:
        """Do nothing."""

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """Do nothing."""

    def stops(self) -> None:
        """Do nothing."""
