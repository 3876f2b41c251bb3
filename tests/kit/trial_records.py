"""Trial records for tests: blocks `stem` and `neck`, one engine, trials at a given point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoprec.errors import FailureKind
from autoprec.records import (
    Assignment,
    Block,
    Explanation,
    Failure,
    Findings,
    Fingerprint,
    Identity,
    Inspection,
    Interval,
    Latency,
    Measurement,
    NightSummary,
    Origin,
    Quality,
    Reference,
    StageSeconds,
    TrialRecord,
    pareto,
)

BLOCKS = (Block(name="stem", nodes=("conv",)), Block(name="neck", nodes=("mul", "add")))
ENGINE = Fingerprint(backend="openvino", version="2026.4.1", device="EPYC", options='{"threads": 3}')
REFERENCE = Reference(
    precision="fp16", model_digest="r", latency_ms=10, latency_noise=0.01, loss_noise=0, float_loss=0.001
)
IDENTITY = Identity(model="m1", samples="s1", spec="d1", blocks="b1", fingerprint=ENGINE).typed()


def running(number: int, *, choices: str = "int8 fp16", origin: Origin = "search") -> TrialRecord:
    stem, neck = choices.split()
    return TrialRecord(
        study="demo",
        number=number,
        state="running",
        origin=origin,
        label="",
        assignment=Assignment(choices=(("stem", stem), ("neck", neck))),
        fingerprint=ENGINE.digest,
        start="2026-01-01T00:00:00+00:00",
    )


def complete(
    number: int,
    latency_ms: float,
    loss: float,
    *,
    choices: str = "int8 fp16",
    origin: Origin = "search",
    reused_from: int | None = None,
) -> TrialRecord:
    begun = running(number, choices=choices, origin=origin)
    interval = Interval(low=loss, high=loss)
    quality = Quality(
        loss=loss, loss_interval=interval, miou=1 - loss, boundary_iou=0.9, worst_loss=0.2, logit_error=0.1
    )
    ratio = latency_ms / 10.0
    latency = Latency(
        median_ms=latency_ms,
        p10_ms=latency_ms,
        p90_ms=latency_ms,
        rounds=20,
        reference_median_ms=10.0,
        ratio=ratio,
        ratio_interval=Interval(low=ratio, high=ratio),
    )
    measurement = Measurement(
        latency=latency,
        quality=quality,
        latency_ms=latency_ms,
        engine_bytes=1000,
        peak_memory_bytes=2000,
        audit=(),
        seconds=StageSeconds(total=1.0),
    )
    return TrialRecord(
        **{field: getattr(begun, field) for field in ("study", "number", "origin", "label", "assignment")},
        fingerprint=begun.fingerprint,
        start=begun.start,
        state="complete",
        end="2026-01-01T00:00:09+00:00",
        measurement=measurement,
        reused_from=reused_from,
    )


def failed(number: int, *, choices: str = "int8 fp16", kind: FailureKind = "build") -> TrialRecord:
    begun = running(number, choices=choices)
    return TrialRecord(
        **{field: getattr(begun, field) for field in ("study", "number", "origin", "label", "assignment")},
        fingerprint=begun.fingerprint,
        start=begun.start,
        state="failed",
        end="2026-01-01T00:00:09+00:00",
        failure=Failure(kind=kind, message="no kernel for Conv"),
    )


def findings(
    trials: Sequence[TrialRecord],
    *,
    study: str = "demo",
    blocks: Sequence[Block] = BLOCKS,
    sensitivity: Mapping[str, Mapping[str, float]] | None = None,
    explanations: Mapping[int, Explanation] | None = None,
    inspections: Mapping[int, Inspection] | None = None,
) -> Findings:
    """What a report shows of these trials, all of one night."""
    front = pareto(trials)
    night = NightSummary(
        start="2026-01-01T00:00:00+00:00", end="", budget="50", trials=len(trials), volume=0.5
    )
    return Findings(
        study=study,
        made="2026-01-02T07:30:00+00:00",
        versions=(("autoprec", "0.1.0"),),
        definition="{}",
        blocks=tuple(blocks),
        identity=IDENTITY,
        reference=REFERENCE,
        trials=tuple(trials),
        front=front,
        picked=front[0].number if front else None,
        nights=(night,),
        corner=(10.0, 0.05),
        volumes=tuple((t.number, 0.5) for t in trials if t.measurement is not None),
        sensitivity={block: dict(row) for block, row in (sensitivity or {}).items()},
        explanations=dict(explanations or {}),
        inspections=dict(inspections or {}),
    )
