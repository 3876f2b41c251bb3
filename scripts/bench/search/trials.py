"""Trials as strategies learn them, out of a row and its two objectives; everything else in them is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoprec.records import (
    Assignment,
    Block,
    Interval,
    Latency,
    Measurement,
    Quality,
    StageSeconds,
    TrialRecord,
)

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
    """A trial that measured (latency_ms, loss)."""
    latency_ms, loss = values
    interval = Interval(low=0.0, high=0.0)
    latency = Latency(
        median_ms=latency_ms,
        p10_ms=latency_ms,
        p90_ms=latency_ms,
        rounds=1,
        reference_median_ms=1.0,
        ratio=latency_ms,
        ratio_interval=interval,
    )
    quality = Quality(
        loss=loss, loss_interval=interval, miou=0.0, boundary_iou=0.0, worst_loss=0.0, logit_error=0.0
    )
    measurement = Measurement(
        latency=latency,
        quality=quality,
        latency_ms=latency_ms,
        engine_bytes=0,
        peak_memory_bytes=0,
        audit=(),
        seconds=StageSeconds(),
    )
    begun = running(number, blocks, choices)
    return msgspec.structs.replace(begun, state="complete", measurement=measurement)
