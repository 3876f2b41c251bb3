"""Trials, and what a study is bound to."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from autoprec.errors import BLAMELESS, FailureKind
from autoprec.records._base import Record
from autoprec.records.blocks import Assignment, Block
from autoprec.records.exports import Examples, Recipe
from autoprec.records.fidelity import Departure
from autoprec.records.measurements import Measurement

TrialState = Literal["complete", "failed", "running"]
Origin = Literal["anchor", "search", "reused", "finalist", "queued", "refined"]


class Proposal(Record, frozen=True, kw_only=True):
    """An assignment to measure, and its origin; it is numbered when its trial begins."""

    assignment: Assignment
    origin: Origin
    label: str = ""


class Failure(Record, frozen=True, kw_only=True):
    """Why a trial failed: the `kind` is for programs, the `message` for people.

    `finder` identifies what else may be at fault beside the candidate: autoprec's code for `internal`, its
    judge for `wrong`. It is empty for other kinds, and for trials of versions that did not store it.
    """

    kind: FailureKind
    message: str
    finder: str = ""


class Fingerprint(Record, frozen=True, kw_only=True):
    """The engine and device that measured: measurements are comparable only where this is equal.

    `backend` is its name in definitions, `version` the library's own words, `options` those that change a
    measurement, as the backend writes them.
    """

    backend: str
    version: str
    device: str
    options: str = ""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over all fields."""
        # Stored with every trial: a field more changes all digests, and no earlier trial would count.
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


class TrialRecord(Record, frozen=True, kw_only=True):
    """One trial of a study, as stored.

    Attributes:
        study, number: together they name it.
        state: "complete", "failed" or "running".
        origin: who proposed it: "anchor", "search", "queued", "finalist", "refined" or "reused".
        label: names an anchor (`all-int8`), or is empty.
        assignment: the precision of each block.
        fingerprint: digest of the engine and device that measured it.
        start, end: ISO 8601 dates in UTC; `end` is empty while it runs.
        measurement: None for a failed or running trial; `failure`: why it failed, else None.
        reused_from: the trial whose measurement serves.
        excess_mb: by how much its peak memory is over `search.max_memory_mb`, in 10**6 bytes; such a trial is
            on no front.
        run: id of the night that it belongs to; `worker`: the host and the device that it ran on.
        pooled: numbers of the other trials whose measurements are in this one's figures: see `counting`; a
            stored trial has none.
    """

    study: str
    number: int
    state: TrialState
    origin: Origin
    label: str
    assignment: Assignment
    # A digest: thousands of trials share one engine, which the study's identity names in full.
    fingerprint: str
    start: str
    end: str = ""
    measurement: Measurement | None = None
    failure: Failure | None = None
    reused_from: int | None = None
    excess_mb: float = 0.0
    run: int | None = None
    worker: str = ""
    pooled: tuple[int, ...] = ()

    def __repr__(self) -> str:
        """Short: a whole record fills a screen; `autoprec show` and `to_json` have all of it."""
        name = f"{self.number}, {self.state}" + (f", {self.label}" if self.label else "")
        if self.measurement is None:
            return f"TrialRecord({name}" + (f", {self.failure.kind})" if self.failure else ")")
        return f"TrialRecord({name}, {self.latency_ms:.4g} ms, loss {self.loss:.4f})"

    @property
    def latency_ms(self) -> float:
        """The first objective: paired ratio times the study's reference latency. NaN unless complete."""
        return self.measurement.latency_ms if self.measurement else float("nan")

    @property
    def loss(self) -> float:
        """The second objective. NaN unless complete."""
        # NaN, not None: a trial without a loss is then below no limit.
        return self.measurement.quality.loss if self.measurement else float("nan")

    @property
    def counts(self) -> bool:
        """Whether it counts towards its run's budget: running, or ended by its own fault or merit."""
        # What could not be measured is tried again, and must not use the budget up.
        is_blameless = self.failure is not None and self.failure.kind in BLAMELESS
        return self.origin != "reused" and not is_blameless

    def settled(self) -> TrialRecord:
        """The trial as it is once nobody works on it: a running one was interrupted."""
        if self.state != "running":
            return self
        failure = Failure(kind="interrupted", message="the search was stopped in this trial")
        return msgspec.structs.replace(self, state="failed", failure=failure)


class Basis(Record, frozen=True, kw_only=True):
    """How a study's candidates are written, and what they are compared with: found out on its engine on its
    first night, and kept, so that a trial means the same on every later one.

    Attributes:
        version: 0 is what versions until 0.1 wrote, every activation on the signed grid, every precision of
            the definition a choice; later runs of such studies keep that.
        base: float precision of the float parts of quantised blocks.
        reference: precision of the reference; empty takes the definition's.
        grids: (value name, name of its grid) of 8-bit activations that are not on the signed one.
        is_open: whether the engine is still to be asked for all but the reference; what it says then takes
            this one's place.
    """

    # Another way of writing candidates takes another number; earlier studies keep theirs.
    version: int = 1
    base: str
    reference: str = ""
    grids: tuple[tuple[str, str], ...] = ()
    is_open: bool = False

    def admits(self, later: Basis) -> bool:
        """Whether what was measured by this one means the same by a later one."""
        is_found = self.is_open and (later.version, later.reference) == (self.version, self.reference)
        return is_found or self == later


class Identity(Record, frozen=True, kw_only=True):
    """What a study is bound to: resuming with another one is refused, naming what differs.

    `spec` is the digest of the definition. In identities that versions until 0.1 stored, the base precision
    is glued to it behind a plus, and there is no basis: see `typed`.
    """

    model: str
    samples: str
    spec: str
    blocks: str
    fingerprint: Fingerprint
    basis: Basis | None = None

    def typed(self) -> Identity:
        """The same with a basis, whatever version stored it."""
        if self.basis is not None:
            return self
        # Version 0 of the basis marks such a study: its candidates must be written as they were then.
        spec, _, base = self.spec.partition("+")
        return msgspec.structs.replace(self, spec=spec, basis=Basis(version=0, base=base))


class StudySummary(Record, frozen=True, kw_only=True):
    """A study as listings show it.

    Attributes:
        name, path, engine: of the definition; `is_default` where commands take it when none is named.
        state: what is worth a word: not searched yet, being searched, or why it cannot be read.
        trials, front, nights: how many there are.
        speedup: of the fastest point within the accepted loss; None where there is none.
        last: when the last trial ended, ISO 8601.
    """

    name: str
    path: str
    engine: str = ""
    is_default: bool = False
    state: str = ""
    trials: int = 0
    front: int = 0
    nights: int = 0
    speedup: float | None = None
    last: str = ""


class Reference(Record, frozen=True, kw_only=True):
    """The engine that every candidate is compared with, and the noise between two builds of it.

    Attributes:
        precision: the uniform float precision it was built in (`fp16`, or `fp16-safe`).
        model_digest: of its typed ONNX file.
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

    @property
    def loss_floor(self) -> float:
        """Losses closer than this are a tie: two builds of one model, or FP32 and the reference, are as far
        apart."""
        return max(self.loss_noise, self.float_loss)


class MeasuredOn(Record, frozen=True, kw_only=True):
    """A device that took part in a study: what it is, and the reference's own median latency on it."""

    kind: str
    reference_ms: float


class Implicit(Record, frozen=True, kw_only=True):
    """The same point for builders that take precisions by flags and ranges from a calibration cache.

    Attributes:
        model_path: the float model.
        scales: (value name, step of its INT8 grid).
        layers: (node name, `fp32`, `fp16` or `int8`), for nodes that make floats.
        limits: what flags cannot say, one line each.
    """

    model_path: str
    scales: tuple[tuple[str, float], ...]
    layers: tuple[tuple[str, str], ...]
    limits: tuple[str, ...]


class Told(Record, frozen=True, kw_only=True):
    """The same point for TensorRT before 10, whose builder does not keep to a model's types.

    Attributes:
        model_path: a float32 model that keeps its Q/DQ pairs.
        layers: (node name, precision, output type), each `fp32` or `fp16`, as requested of the builder.
    """

    model_path: str
    layers: tuple[tuple[str, str, str], ...]


class Export(Record, frozen=True, kw_only=True):
    """What an exporter writes from: the chosen trial, the typed ONNX file, and the study's facts.

    Paths are absolute. `model_name` is the name of the file that was searched. `decoder_path` is empty for a
    model that is not a pipeline; `implicit` is None for a study whose rewriter was not asked, `told` where
    types in a model bind. `recipe` and `examples` say how and on what to measure it again, `fidelity` how far
    the study's steps are from the original model; `engine_path` is the built engine, where the backend can
    write it down, `timing_cache_path` the timings of kernels that builds of it start from, where it has any;
    `metric_path` the file that scores by the study's metric without autoprec, empty for the user's own.
    """

    trial: TrialRecord
    reference: Reference
    identity: Identity
    blocks: tuple[Block, ...]
    model_path: str
    model_digest: str
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...]
    model_name: str = ""
    decoder_path: str = ""
    decoder_digest: str = ""
    implicit: Implicit | None = None
    told: Told | None = None
    reference_path: str = ""
    recipe: Recipe | None = None
    examples: Examples | None = None
    fidelity: tuple[Departure, ...] = ()
    clock: str = ""
    engine_path: str = ""
    timing_cache_path: str = ""
    metric_path: str = ""
