"""Who measures: the processes that take part in a study, and each one's share of its trials."""

from __future__ import annotations

from autoprec.records._base import Record


class Doing(Record, frozen=True, kw_only=True):
    """What one device of a worker is at: a trial's number and the step it is in."""

    device: str
    trial: int
    stage: str = ""


class Worker(Record, frozen=True, kw_only=True):
    """One process that takes part in a study. `process` is its number and when it started; `beat` is when
    it was last alive, in seconds since 1970 by the database's clock."""

    id: str
    study: str
    host: str
    process: str
    devices: tuple[str, ...]
    version: str
    start: str
    beat: float
    doing: tuple[Doing, ...] = ()


class WorkerShare(Record, frozen=True, kw_only=True):
    """A worker's part in a study's trials; `worker` is its host and device. The rate leaves out what lies
    between two nights; it is None where it cannot be said."""

    worker: str
    trials: int
    trials_an_hour: float | None
