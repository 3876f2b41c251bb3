"""Functions of the user's that are called after each trial, as Optuna calls its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from autoprec.records import TrialRecord
from autoprec.study.events import Watcher

if TYPE_CHECKING:
    from autoprec.study.study import Study

Callback = Callable[["Study", TrialRecord], None]


class Calling:
    """A watcher that passes everything on to another one, and calls functions when a trial is over.

    Args:
        watcher: is told everything.
        study: the first argument of the functions.
        callbacks: the functions; the trial is stored when they are called.
    """

    def __init__(self, watcher: Watcher, study: Study, callbacks: Sequence[Callback]) -> None:
        self.say, self.starts = watcher.say, watcher.starts
        self.begins, self.stage, self.stops = watcher.begins, watcher.stage, watcher.stops
        self._watcher, self._study, self._callbacks = watcher, study, callbacks

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """A trial is over and stored."""
        self._watcher.ends(record, front)
        for call in self._callbacks:
            call(self._study, record)
