"""Trial records for tests: blocks `stem` and `neck`, one engine, trials at a given point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from autoprec.backends.clocks import clock_of
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
    Measurement,
    NightSummary,
    Origin,
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
END = "2026-01-01T00:00:09+00:00"
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
    measurement = Measurement.of_objectives(latency_ms, loss, reference_ms=10.0)
    quality = replace(measurement.quality, boundary_iou=0.9)
    measurement = replace(measurement, quality=quality, seconds=StageSeconds(total=1.0))
    return replace(begun, state="complete", end=END, measurement=measurement, reused_from=reused_from)


def failed(number: int, *, choices: str = "int8 fp16", kind: FailureKind = "build") -> TrialRecord:
    begun = running(number, choices=choices)
    return replace(begun, state="failed", end=END, failure=Failure(kind=kind, message="no kernel for Conv"))


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
        start="2026-01-01T00:00:00+00:00", end="", budget="50", first=0, trials=len(trials), volume=0.5
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
        clock=clock_of(IDENTITY.fingerprint),
    )
