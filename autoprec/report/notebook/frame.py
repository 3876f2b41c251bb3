"""All trials as a pandas data frame; pandas is optional, and imported on demand."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from autoprec.errors import BackendError, how_to_install
from autoprec.records import TrialRecord

if TYPE_CHECKING:
    import pandas


def trials_dataframe(trials: Sequence[TrialRecord], front: Iterable[TrialRecord]) -> pandas.DataFrame:
    """A row for each trial, by number; figures of a trial that was not measured are NaN.

    Raises `BackendError` without pandas.
    """
    try:
        frames: Any = importlib.import_module("pandas")
    except ImportError as error:
        raise BackendError(f"pandas is not installed: {how_to_install('tables')}") from error
    best = {record.number for record in front}
    table = frames.DataFrame([row_of(record, is_best=record.number in best) for record in trials])
    if len(table):
        for name in ("start", "end"):
            # A running trial has no end: its empty string becomes NaT.
            table[name] = frames.to_datetime(table[name], format="ISO8601", utc=True, errors="coerce")
    frame: pandas.DataFrame = table
    return frame


def row_of(record: TrialRecord, *, is_best: bool) -> dict[str, Any]:
    """A trial's values by column; an unmeasured trial has fewer columns."""
    row: dict[str, Any] = {
        "number": record.number,
        "state": record.state,
        "origin": record.origin,
        "label": record.label,
        "on_front": is_best,
        "latency_ms": record.latency_ms,
        "loss": record.loss,
    }
    if (measured := record.measurement) is not None:
        ratio, quality = measured.latency.ratio_interval, measured.quality
        row |= {
            "speedup": 1 / measured.latency.ratio,
            # The reciprocal turns an interval round.
            "speedup_low": 1 / ratio.high,
            "speedup_high": 1 / ratio.low,
            "loss_low": quality.loss_interval.low,
            "loss_high": quality.loss_interval.high,
            "miou": quality.miou,
            "boundary_iou": quality.boundary_iou,
            "worst_loss": quality.worst_loss,
            "samples": quality.samples,
            "engine_bytes": measured.engine_bytes,
            "peak_memory_bytes": measured.peak_memory_bytes,
            "build_seconds": measured.seconds.build,
            "total_seconds": measured.seconds.total,
        }
    row |= {
        "failure": record.failure.kind if record.failure else "",
        "message": record.failure.message if record.failure else "",
        "reused_from": record.reused_from,
        "worker": record.worker,
        "start": record.start,
        "end": record.end,
    }
    return row | {f"block.{block}": precision for block, precision in record.assignment.choices}
