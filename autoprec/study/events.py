"""What a run reports as it proceeds. The terminal's live view is one listener, a log file another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autoprec.records import Reference, TrialRecord


class Watcher(Protocol):
    """Receives every step of a run."""

    def say(self, message: str) -> None:
        """Something worth a line."""

    def starts(
        self,
        *,
        trials: int | None,
        seconds: float | None,
        reference: Reference | None,
        earlier: Sequence[TrialRecord] = (),
    ) -> None:
        """The reference is known; what this run may spend (one of `trials` and `seconds`).

        Args:
            trials: that it may spend, or None.
            seconds: that it may spend, or None.
            reference: what trials are compared with; None before it is measured.
            earlier: trials of earlier runs.
        """

    def begins(self, record: TrialRecord) -> None:
        """A trial begins."""

    def stage(self, name: str, trial: int | None = None) -> None:
        """A running trial moves to another step; called from the thread that waits for it."""

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """A trial is over and stored; the front is what it is now."""


class Quiet:
    """A watcher that keeps silent."""

    def say(self, message: str) -> None:
        """Nothing."""

    def starts(
        self,
        *,
        trials: int | None,
        seconds: float | None,
        reference: Reference | None,
        earlier: Sequence[TrialRecord] = (),
    ) -> None:
        """Nothing."""

    def begins(self, record: TrialRecord) -> None:
        """Nothing."""

    def stage(self, name: str, trial: int | None = None) -> None:
        """Nothing."""

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """Nothing."""
