"""From an assignment to its measurement: rewrite, then build and measure in the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from autoprec.backends import Device
from autoprec.backends.timing import Deadline, elapsed
from autoprec.measurement import Job, Score, Setup
from autoprec.records import Assignment, Candidate, Interval, Measurement
from autoprec.study.night.crew import Slot
from autoprec.study.preparation import Prepared

Front = Sequence[tuple[Interval, Interval]]
ALL_SAMPLES = 1 << 30
"""More than there are."""


class EarlyMeasurement(NamedTuple):
    """A measurement made before its trial has a number: on which device, and from when to when."""

    measurement: Measurement
    device: Device
    start: str
    end: str


def now() -> str:
    """The current time in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def later(start: str, since: Deadline) -> str:
    """The time that has come since `start`, ISO 8601, at which `since` was set: whatever the wall clock says
    by now, which may be set meanwhile."""
    passed = timedelta(seconds=since.spent)
    return (datetime.fromisoformat(start) + passed).isoformat(timespec="milliseconds")


def make(
    prepared: Prepared,
    slot: Slot,
    assignment: Assignment,
    stage: Callable[[str], None],
    behind: str = "",
) -> EarlyMeasurement:
    """Measure an assignment before there is a reference to compare it with; raises as `measure`.

    Args:
        prepared: the rewriter and what the worker receives.
        slot: the worker.
        assignment: what to measure.
        stage: receives every step.
        behind: a folder, in which a calibration must be over before anything is timed; "" for none.
    """
    start, since, is_begun = now(), Deadline(None), False

    def on_stage(name: str) -> None:
        nonlocal start, since, is_begun
        if name == "build" and not is_begun:  # the worker made the reference until now, or makes it beside
            start, since, is_begun = now(), Deadline(None), True
        stage(name)

    # Rewritten in this process, since the writing processes are not loaded before the reference is there.
    here = replace(slot, writers=None)
    measured = measure(prepared, here, assignment, None, on_stage=on_stage, behind=behind)
    return EarlyMeasurement(measured, slot.device, start, later(start, since))


def measure(
    prepared: Prepared,
    slot: Slot,
    assignment: Assignment,
    reference_ms: float | None,
    *,
    front: Front | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
    behind: str = "",
) -> Measurement:
    """Rewrite an assignment, then measure it in the worker.

    Args:
        prepared: the rewriter and what the worker receives.
        slot: the worker.
        assignment: what to measure.
        reference_ms: the study's reference latency in ms; None takes this measurement's own.
        front: intervals (ms, loss) of the points that it is raced against; None measures in full, and
            profiles.
        on_stage: receives every step.
        behind: as that of `make`.

    Raises `TrialError`, or `StudyError` for a full disk.
    """
    with elapsed() as total, prepared.scratch(slot.scratch) as path:
        on_stage("rewrite")
        with elapsed() as rewriting:
            candidate = _written(prepared, slot, assignment, path)
        job = Job(
            setup=setup_for(prepared, slot),
            candidate_path=candidate.model_path,
            assignment=assignment,
            blocks=prepared.blocks,
            heavy=prepared.deciding(assignment),
            reference_latency_ms=reference_ms,
            profiled=front is None,
            front=tuple(front or ()),
            behind=behind,
        )
        measurement = slot.bench.measure(job, on_stage)
    seconds = msgspec.structs.replace(measurement.seconds, rewrite=rewriting.seconds, total=total.seconds)
    return msgspec.structs.replace(measurement, seconds=seconds)


def loss_of(prepared: Prepared, slot: Slot, assignment: Assignment, samples: int) -> float:
    """Rewrite an assignment, then score it. Raises as `measure`.

    Args:
        prepared: the rewriter and what the worker receives.
        slot: the worker.
        assignment: what to score.
        samples: how many, from the first on.
    """
    with prepared.scratch(slot.scratch) as path:
        candidate = _written(prepared, slot, assignment, path)
        setup = setup_for(prepared, slot)
        score = Score(setup=setup, candidate_path=candidate.model_path, samples=samples)
        return slot.bench.score(score).loss


def _written(prepared: Prepared, slot: Slot, assignment: Assignment, path: Path) -> Candidate:
    """The typed model of an assignment: the reference's is there, and another file would be built anew even
    where no other plan can come of it."""
    if assignment == prepared.reference:
        return prepared.reference_candidate
    return prepared.rewrite(assignment, path, slot.writers)


def setup_for(prepared: Prepared, slot: Slot) -> Setup:
    """The setup of a slot's worker, with the slot's own device and threads."""
    return msgspec.structs.replace(prepared.setup, device=slot.device.lease, threads=slot.threads)
