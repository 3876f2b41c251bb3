"""The facts of a search, from its study's database."""

from __future__ import annotations

import itertools
import json
import platform
import sqlite3
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autoprec import Study
from autoprec.records import TrialRecord

PACKAGES = ("autoprec", "onnx", "onnx-ir", "optuna", "numpy", "torch", "tensorrt-rtx", "tensorrt", "openvino")


def facts_of(definition: Path) -> dict[str, Any]:
    """Everything that the report shows about a search."""
    study = Study.load(definition)
    trials = [trial for trial in study.trials() if trial.reused_from is None]
    done = [trial for trial in trials if trial.state == "complete"]
    reference, blocks = study.reference(), study.stored_blocks()
    fingerprint = json.loads(_one(study.database, "select identity from autoprec_studies"))["fingerprint"]
    return {
        "fingerprint": fingerprint,
        "versions": _versions(),
        "blocks": len(blocks),
        "parameters": sum(block.parameters for block in blocks),
        "macs": sum(block.macs for block in blocks),
        "refused": dict(Counter(f"{name}: {reason}" for block in blocks for name, reason in block.refused)),
        "legality": list(_verdicts(study.database)),
        "reference": None if reference is None else _plain(reference),
        "trials": [_trial(trial) for trial in trials],
        "front": [trial.number for trial in study.front()],
        "seconds": _seconds(done),
        "failures": _failures(trials),
        "audit": _audit(done),
        "clocks": _clocks(done),
    }


def _trial(trial: TrialRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "number": trial.number, "state": trial.state, "origin": trial.origin, "label": trial.label,
        "precisions": dict(Counter(p for _, p in trial.assignment.choices)),
        "start": trial.start, "end": trial.end,
    }  # fmt: skip
    if trial.failure is not None:
        facts["failure"] = f"{trial.failure.kind}: {trial.failure.message}"
    if (measured := trial.measurement) is not None:
        latency, quality = measured.latency, measured.quality
        spread = latency.ratio_interval
        facts |= {
            "latency_ms": measured.latency_ms, "own_ms": latency.median_ms, "rounds": latency.rounds,
            "speedup": [1 / latency.ratio, 1 / spread.high, 1 / spread.low],
            "loss": [quality.loss, quality.loss_interval.low, quality.loss_interval.high],
            "samples": quality.samples, "engine_mb": measured.engine_bytes / 1e6,
            "memory_mb": measured.peak_memory_bytes / 1e6, "seconds": _plain(measured.seconds),
        }  # fmt: skip
    return facts


def _seconds(done: Sequence[TrialRecord]) -> dict[str, float]:
    """Median seconds of a trial by stage; `between` is from one trial's end to the next one's start."""
    # Without anchors, which are profiled too. Medians, because the first trial of a run also waits for its
    # worker and the reference.
    plain = [t.measurement.seconds for t in done if t.measurement and t.origin != "anchor"]
    stages = {
        name: [getattr(s, name) for s in plain] for name in ("rewrite", "build", "run", "timing", "total")
    }
    stages["rest"] = [s.total - s.rewrite - s.build - s.run - s.timing for s in plain]
    dates = [(datetime.fromisoformat(t.start), datetime.fromisoformat(t.end)) for t in done]
    gaps = [(later[0] - first[1]).total_seconds() for first, later in itertools.pairwise(dates)]
    medians = {name: statistics.median(values) for name, values in stages.items() if values}
    return medians | {"between": statistics.median(gaps), "trials": len(plain)} if medians and gaps else {}


def _failures(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    failed = [trial.failure for trial in trials if trial.failure is not None]
    kinds = Counter(failure.kind for failure in failed)
    examples = {failure.kind: failure.message for failure in failed}
    return {kind: {"trials": count, "last": examples[kind]} for kind, count in kinds.items()}


def _audit(done: Sequence[TrialRecord]) -> dict[str, int]:
    """How often blocks requested in one precision ran in another, by pair."""
    rows = [row for trial in done if trial.measurement for row in trial.measurement.audit]
    return dict(Counter(f"{row.asked} ran {_kinds(row.ran)}" for row in rows))


def _kinds(ran: str) -> str:
    """The precisions in a text such as `f16 x3, f32 x1`: `f16, f32`."""
    return ", ".join(part.partition(" x")[0] for part in ran.split(", ")) or "unseen"


def _clocks(done: Sequence[TrialRecord]) -> dict[str, Any]:
    readings = [
        c for t in done if t.measurement for c in (t.measurement.latency.before, t.measurement.latency.after)
    ]
    facts: dict[str, Any] = {
        name: [min(values), max(values)]
        for name in ("sm_mhz", "memory_mhz", "power_watts", "temperature_celsius", "other_processes")
        if (values := [v for c in readings if (v := getattr(c, name)) is not None])
    }
    facts["throttled"] = dict(Counter(reason for c in readings for reason in c.throttle_reasons))
    return facts


def _verdicts(database: Path) -> Iterator[dict[str, Any]]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        query = "select value from autoprec_facts where kind like 'verdict %' order by key"
        yield from (json.loads(text) for (text,) in connection.execute(query))


def _one(database: Path, query: str) -> str:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return str(connection.execute(query).fetchone()[0])


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _plain(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}
