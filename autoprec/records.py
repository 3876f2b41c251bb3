"""The records that travel between modules: frozen, typed, without I/O.

They are `msgspec` structs, so the store, the worker's pipe and `--json` write and read them without a
second description. Units live in names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from autoprec.errors import FailureKind

TrialState = Literal["complete", "failed", "running"]
Origin = Literal["anchor", "search", "reused", "finalist", "queued"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records: immutable, compared by value, keyword-only."""


class Interval(Record):
    """A two-sided confidence interval; `level` is its nominal coverage."""

    low: float
    high: float
    level: float = 0.95


class Block(Record):
    """A named group of nodes that gets one precision.

    Attributes:
        name: stable between runs and exports; unique in the model.
        nodes: ONNX node names in graph order; every node of the model is in exactly one block.
        op_counts: (op type, count), most frequent first.
        macs: multiply-accumulate operations of one inference.
        parameters: number of weights; `weight_bytes` is their size in the model as it came.
        inputs: names of values that come from other blocks or the graph's inputs.
        outputs: names of values that other blocks or the graph's outputs use.
        allowed: precision names, in the order of the study's list.
        refused: (precision name, reason) for the others of the study's list.
    """

    name: str
    nodes: tuple[str, ...]
    op_counts: tuple[tuple[str, int], ...] = ()
    macs: int = 0
    parameters: int = 0
    weight_bytes: int = 0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


class Assignment(Record):
    """One precision name for every block, in graph order."""

    choices: tuple[tuple[str, str], ...]

    @classmethod
    def uniform(cls, blocks: Iterable[Block], precision: str, fallback: str) -> Assignment:
        """`precision` wherever a block allows it, else `fallback`."""
        return cls(choices=tuple((b.name, precision if precision in b.allowed else fallback) for b in blocks))

    @classmethod
    def from_mapping(cls, blocks: Iterable[Block], choices: Mapping[str, str]) -> Assignment:
        """Orders `choices` (block name to precision name) as the graph is. Raises KeyError for a gap."""
        return cls(choices=tuple((block.name, choices[block.name]) for block in blocks))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over the choices."""
        return hashlib.sha256(msgspec.json.encode(self.choices)).hexdigest()[:16]

    def as_dict(self) -> dict[str, str]:
        """Block name to precision name."""
        return dict(self.choices)


class Candidate(Record):
    """An assignment and its rewritten ONNX file."""

    assignment: Assignment
    model_path: str
    model_digest: str


class Clocks(Record):
    """What the device's clocks, power and throttling said around a measurement; None where unknown."""

    sm_mhz: float | None = None
    memory_mhz: float | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    other_processes: int | None = None
    cpu_mhz: float | None = None
    load_average: float | None = None


class Latency(Record):
    """Paired latency of a candidate: it and the reference were timed in turn, round by round.

    Attributes:
        median_ms, p10_ms, p90_ms: the candidate's own rounds.
        rounds: number of paired rounds.
        reference_median_ms: the reference's median over the same rounds.
        ratio: median over rounds of candidate / reference; below 1 is faster than the reference.
        ratio_interval: confidence interval of that median.
        before, after: clock readings around the rounds.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    rounds: int
    reference_median_ms: float
    ratio: float
    ratio_interval: Interval
    before: Clocks = Clocks()
    after: Clocks = Clocks()


class SampleScore(Record):
    """Mask IoU of one mask of one sample against the reference's mask."""

    sample: str
    mask: int
    iou: float


class Quality(Record):
    """How far a candidate's masks are from the reference's.

    Attributes:
        loss: the objective; 1 - mean mask IoU for the default metric. 0 is identical.
        loss_interval: bootstrap interval over samples.
        miou, boundary_iou: means over masks.
        worst_loss: mean loss of the worst 5 % of masks.
        logit_error: root mean square error of the raw logits over the reference's standard deviation.
        truth_miou: mean IoU against ground truth, where the user has it.
        samples: number of samples scored (racing may stop early); masks: number of masks.
        worst: the lowest scores, worst first.
    """

    loss: float
    loss_interval: Interval
    miou: float
    boundary_iou: float
    worst_loss: float
    logit_error: float
    truth_miou: float | None = None
    samples: int = 0
    masks: int = 0
    worst: tuple[SampleScore, ...] = ()


class KernelTime(Record):
    """One kernel of a built engine: the ONNX nodes in it, what ran, and for how long (0 if not timed).

    `precision` is a lower-case name as in `f32`, `bf16`, `f16`, `i8`, `f8`; empty if the engine hides it.
    """

    nodes: tuple[str, ...]
    kernel: str
    precision: str
    time_ms: float = 0.0


class BlockAudit(Record):
    """What one block was asked to run in, what its kernels ran in, and its time.

    `matches` is None where the engine does not say.
    """

    block: str
    asked: str
    ran: str
    matches: bool | None
    time_ms: float
    detail: str = ""


class Failure(Record):
    """Why a trial failed."""

    kind: FailureKind
    message: str


class Fingerprint(Record):
    """The engine and device that measured: measurements are comparable only where this is equal."""

    backend: str
    version: str
    device: str
    options: str = ""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over all fields."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


class StageSeconds(Record):
    """Where a trial's wall time went, in seconds."""

    rewrite: float = 0.0
    build: float = 0.0
    run: float = 0.0
    timing: float = 0.0
    total: float = 0.0

    @property
    def overhead(self) -> float:
        """Seconds that were neither build, run nor timing."""
        return self.total - self.build - self.run - self.timing


class Measurement(Record):
    """All that one candidate's worker found out."""

    latency: Latency
    quality: Quality
    latency_ms: float
    engine_bytes: int
    peak_memory_bytes: int
    audit: tuple[BlockAudit, ...]
    seconds: StageSeconds


class TrialRecord(Record):
    """One trial of a study, as stored. `measurement` is None for a failed or running trial.

    `label` names an anchor (`all-int8`) or is empty. `reused_from` is the trial whose measurement serves.
    Dates are ISO 8601 in UTC.
    """

    study: str
    number: int
    state: TrialState
    origin: Origin
    label: str
    assignment: Assignment
    fingerprint: str
    start: str
    end: str = ""
    measurement: Measurement | None = None
    failure: Failure | None = None
    reused_from: int | None = None

    @property
    def latency_ms(self) -> float:
        """The first objective: paired ratio times the study's reference latency. NaN unless complete."""
        return self.measurement.latency_ms if self.measurement else float("nan")

    @property
    def loss(self) -> float:
        """The second objective. NaN unless complete."""
        return self.measurement.quality.loss if self.measurement else float("nan")


class Identity(Record):
    """What a study is bound to: resuming with another one is refused, naming what differs."""

    model: str
    samples: str
    spec: str
    blocks: str
    fingerprint: Fingerprint


class Reference(Record):
    """The engine that every candidate is compared with, and the noise between two builds of it.

    Attributes:
        precision: the uniform float precision it was built in (`fp16`, or `fp16-safe`).
        latency_ms: median of the study's first measurement; objectives are paired ratios times this.
        latency_noise: |ratio - 1| between two builds of the same model: closer than that is a tie.
        loss_noise: mask loss between two builds of the same model.
        float_loss: mask loss of the reference against the FP32 engine.
    """

    precision: str
    model_digest: str
    latency_ms: float
    latency_noise: float
    loss_noise: float
    float_loss: float


class Export(Record):
    """What an exporter writes from: the chosen trial, the typed ONNX file, and the study's facts.

    Paths are absolute. `decoder_path` is empty for a model that is not a pipeline.
    """

    trial: TrialRecord
    reference: Reference
    identity: Identity
    blocks: tuple[Block, ...]
    model_path: str
    model_digest: str
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...]
    decoder_path: str = ""
    decoder_digest: str = ""
