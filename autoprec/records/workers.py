"""The processes that take part in a study, and each one's share of its trials."""

from __future__ import annotations

from autoprec.records._base import Record


class Doing(Record, frozen=True, kw_only=True):
    """What a device of a worker is doing: a trial's number, and its current step."""

    device: str
    trial: int
    stage: str = ""


class Worker(Record, frozen=True, kw_only=True):
    """One process that takes part in a study.

    `process` is its number and time of start; `beat` is its last heartbeat, in seconds since 1970 by the
    database's clock.
    """

    id: str
    study: str
    host: str
    # With its start: the system gives the number of a dead process to another one.
    process: str
    devices: tuple[str, ...]
    version: str
    start: str
    # By one clock for all: those of the hosts differ.
    beat: float
    doing: tuple[Doing, ...] = ()


class WorkerShare(Record, frozen=True, kw_only=True):
    """A worker's share of a study's trials; `worker` is its host and device.

    The rate leaves out the time between runs; it is None where it is unknown.
    """

    worker: str
    trials: int
    trials_an_hour: float | None
