"""The heartbeat of a search: a thread that reports that the process is alive, and what its slots are
doing."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from autoprec.errors import StudyError
from autoprec.store import BEAT_SECONDS, Doing, Membership

_FAREWELL_SECONDS = 5.0
"""For which a database is waited for in the end: what this process held is free a minute later anyway."""


class Heart:
    """Sends heartbeats from a thread of its own, within a `with` block."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._doing: dict[int, Doing] = {}
        self._lock, self._stopped = threading.Lock(), threading.Event()
        # A thread, because rewriting a large model may keep the search busy for longer than a lease lasts.
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def stage(self, trial: int, device: str, stage: str) -> None:
        """Note a trial's current step, for the next heartbeat."""
        with self._lock:
            self._doing[trial] = Doing(device=device, trial=trial, stage=stage)

    def over(self, trial: int) -> None:
        """Forget a trial that has ended."""
        with self._lock:
            self._doing.pop(trial, None)

    def __enter__(self) -> Self:
        self._membership.enter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        # In threads, which a server that hangs does not let go of: Ctrl-C is to end the search all the same.
        self._thread.join(_FAREWELL_SECONDS)
        farewell = threading.Thread(target=self._leave, name="farewell", daemon=True)
        farewell.start()
        farewell.join(_FAREWELL_SECONDS)

    def _leave(self) -> None:
        with suppress(StudyError):
            self._membership.leave()

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            with self._lock:
                doing = tuple(self._doing.values())
            with suppress(StudyError):  # the thread that writes trials meets it, too
                self._membership.beat(doing)
