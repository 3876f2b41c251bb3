"""User functions that are called after each trial, like Optuna's callbacks."""

from collections.abc import Callable, Sequence

from autoprec.records import TrialRecord
from autoprec.study.events import Watcher


class Calling:
    """A watcher that forwards everything to another one, and calls functions after each trial.

    Args:
        watcher: receives everything.
        callbacks: called with the trial, once it is stored.
    """

    def __init__(self, watcher: Watcher, callbacks: Sequence[Callable[[TrialRecord], None]]) -> None:
        self.say, self.starts, self.refers = watcher.say, watcher.starts, watcher.refers
        self.begins, self.stage, self.stops = watcher.begins, watcher.stage, watcher.stops
        self._watcher, self._callbacks = watcher, callbacks

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """A trial has ended and is stored."""
        self._watcher.ends(record, front)
        for call in self._callbacks:
            call(record)
