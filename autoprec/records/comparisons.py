"""Two studies, or two nights of one, side by side."""

from __future__ import annotations

from typing import Literal, NamedTuple

from autoprec.records._base import Interval, Record
from autoprec.records.studies import Fingerprint
from autoprec.records.workers import WorkerShare

Movement = Literal["same", "better", "worse"]
"""Of the second against the first; `same` is within intervals and noise."""


class Side(Record, frozen=True, kw_only=True):
    """One of the two: what was measured up to some night.

    `area` is that behind the front within the reference's latency and the comparison's loss, as a part of the
    rectangle; `workers` are those that measured.
    """

    name: str
    engine: Fingerprint
    reference: str
    reference_ms: float
    latency_noise: float
    loss_noise: float
    trials: int
    area: float
    workers: tuple[WorkerShare, ...] = ()


class Figures(NamedTuple):
    """What is compared of a measurement: its trial's number, speed-up with interval, and mask loss."""

    number: int
    speedup: float
    interval: Interval
    loss: float


class Match(Record, frozen=True, kw_only=True):
    """Two measurements that may be compared."""

    what: str
    first: Figures
    second: Figures
    speed: Movement
    masks: Movement


class Comparison(Record, frozen=True, kw_only=True):
    """What moved from the first to the second, and what is noise.

    Attributes:
        differs: what is not the same in both (engine, model, samples), one phrase each.
        fastest: the fastest points within each of some losses; `what` names the loss.
        repeated: assignments that both measured, each measurement counted once.
    """

    first: Side
    second: Side
    differs: tuple[str, ...]
    # One limit for both areas: each study's own would make them areas of different rectangles.
    loss_limit: float
    fastest: tuple[Match, ...]
    repeated: tuple[Match, ...]
