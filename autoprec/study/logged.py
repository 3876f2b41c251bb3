"""A search's steps in Python's standard logging, under the name `autoprec.search`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from autoprec.records import Reference, RunStart, TrialRecord
from autoprec.study.events import Watcher
from autoprec.visible import visible

LOG = logging.getLogger("autoprec.search")
# A library's logger: without a handler Python prints warnings to the terminal; the application adds its own.
logging.getLogger("autoprec").addHandler(logging.NullHandler())


class Logged:
    """A watcher that logs and forwards everything: trials as INFO, failures as WARNING, steps as DEBUG."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def say(self, message: str) -> None:
        """Log a message."""
        LOG.info("%s", visible(message))
        self._watcher.say(message)

    def starts(self, start: RunStart) -> None:
        """Log the reference and the budget that is left."""
        budget = f"{start.seconds:.0f} s" if start.seconds is not None else f"{start.trials} trials"
        earlier = len(start.earlier)
        reference = "none" if start.reference is None else _words(start.reference)
        LOG.info("budget left: %s; reference: %s; earlier trials: %d", budget, reference, earlier)
        self._watcher.starts(start)

    def refers(self, reference: Reference) -> None:
        """Log the reference."""
        LOG.info("reference: %s", _words(reference))
        self._watcher.refers(reference)

    def begins(self, record: TrialRecord) -> None:
        """Log the start of a trial."""
        LOG.debug("trial %d begins: %s %s", record.number, record.origin, record.assignment.digest)
        self._watcher.begins(record)

    def stage(self, name: str, trial: int | None = None) -> None:
        """Log a step."""
        LOG.debug("%s%s", "" if trial is None else f"trial {trial}: ", visible(name))
        self._watcher.stage(name, trial)

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """Log the end of a trial."""
        if record.failure is not None:
            why = visible(f"{record.failure.kind}: {record.failure.message}")
            LOG.warning("trial %d failed: %s", record.number, why)
        elif record.measurement is not None:
            speedup = 1 / record.measurement.latency.ratio
            figures = record.number, record.latency_ms, speedup, record.loss, record.origin
            LOG.info("trial %d: %.4g ms, %.3fx, loss %.4f (%s)", *figures)
        self._watcher.ends(record, front)

    def stops(self) -> None:
        """Log that the run was asked to stop."""
        LOG.info("asked to stop")
        self._watcher.stops()


def _words(reference: Reference) -> str:
    return f"{reference.precision} {reference.latency_ms:.4g} ms"
