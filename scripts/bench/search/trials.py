"""Trials for strategies to learn, from a row and its two objectives; everything else in them is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoprec.records import Assignment, Block, Measurement, TrialRecord

Values = tuple[float, float]


def running(number: int, blocks: Sequence[Block], choices: Mapping[str, str]) -> TrialRecord:
    """A trial that has begun."""
    return TrialRecord(
        study="bench",
        number=number,
        state="running",
        origin="search",
        label="",
        assignment=Assignment.from_mapping(blocks, choices),
        fingerprint="",
        start="",
    )


def complete(number: int, blocks: Sequence[Block], choices: Mapping[str, str], values: Values) -> TrialRecord:
    """A complete trial.

    Args:
        number: of the trial.
        blocks: of the model.
        choices: precision by block.
        values: the measured (latency_ms, loss).
    """
    measurement = Measurement.of_objectives(*values)
    begun = running(number, blocks, choices)
    return msgspec.structs.replace(begun, state="complete", measurement=measurement)
