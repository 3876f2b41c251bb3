"""User functions that are called after each trial, as Optuna calls its callbacks."""

from collections.abc import Callable, Sequence

from autoprec.records import TrialRecord
from autoprec.study.events import Watcher


class Calling:
    """A watcher that passes everything on to another one, and calls functions when a trial is over.

    Args:
        watcher: receives everything.
        callbacks: the functions, each called with the trial, which is stored by then.
    """

    def __init__(self, watcher: Watcher, callbacks: Sequence[Callable[[TrialRecord], None]]) -> None:
        self.say, self.starts = watcher.say, watcher.starts
        self.begins, self.stage, self.stops = watcher.begins, watcher.stage, watcher.stops
        self._watcher, self._callbacks = watcher, callbacks

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """A trial is over and stored."""
        self._watcher.ends(record, front)
        for call in self._callbacks:
            call(record)
