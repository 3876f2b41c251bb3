"""What people see of a finished night: nights, pictures, block-by-block reasons."""

from __future__ import annotations

import math
from typing import Literal, Self

import msgspec

from autoprec.records._base import Interval, Record
from autoprec.records.blocks import Assignment, Block
from autoprec.records.fidelity import Departure
from autoprec.records.measurements import KernelTime
from autoprec.records.studies import Identity, Origin, Reference, TrialRecord

Sureness = Literal["measured", "indicated", "prior", "unknown"]
"""`measured`: a trial that differs in this block alone; `indicated`: one that differs in a few;
`prior`: the block's effect alone, far from this assignment."""


class NightSummary(Record, frozen=True, kw_only=True):
    """One run of the search: when it ran and what it was allowed. `end` is empty if it was killed.

    `first` is the number of its first trial, which tells nights apart where clocks were set back; `volume` is
    the area behind the front after it, see `Findings.volumes`.
    """

    start: str
    end: str
    budget: str
    first: int
    trials: int
    volume: float = 0.0


class RunStart(Record, frozen=True, kw_only=True):
    """What a run tells its watchers before its first trial.

    Attributes:
        trials: how many it may still measure; None without such a budget.
        seconds: how long it may still take; None without such a budget.
        reference: what trials are compared with; None before it is measured.
        earlier: trials of earlier runs.
        done: how many trials of its budget were measured before it was resumed, or watched.
    """

    trials: int | None
    seconds: float | None
    reference: Reference | None
    earlier: tuple[TrialRecord, ...] = ()
    done: int = 0


class TrialAndNoise(TrialRecord, frozen=True, kw_only=True):
    """A trial as listings print it for scripts: with what is noise beside its latency and its loss.

    `latency_noise`, `loss_noise` and `float_loss` are those of `Reference`; None before there is one.
    """

    latency_noise: float | None = None
    loss_noise: float | None = None
    float_loss: float | None = None

    @classmethod
    def of(cls, trial: TrialRecord, reference: Reference | None) -> Self:
        """The trial of a study with this reference."""
        # Fields of the trial itself: scripts read one flat object for each row.
        noise = (
            {}
            if reference is None
            else {name: getattr(reference, name) for name in ("latency_noise", "loss_noise", "float_loss")}
        )
        return cls(**msgspec.structs.asdict(trial), **noise)


class Picture(Record, frozen=True, kw_only=True):
    """One mask of one sample, as files (paths): the image, both masks, and where they differ.

    `kind` says why this one is shown; `score` is its stored score, and `iou` repeats it where it is one.
    """

    sample: str
    mask: int
    iou: float | None = None
    score: float = math.nan
    kind: Literal["worst", "typical"]
    image: str
    reference: str
    candidate: str
    difference: str

    def __post_init__(self) -> None:
        if math.isnan(self.score) and self.iou is not None:  # as earlier versions wrote it
            msgspec.structs.force_setattr(self, "score", self.iou)


class Inspection(Record, frozen=True, kw_only=True):
    """What running one assignment again showed: its kernels with their times, and pictures of its masks."""

    kernels: tuple[KernelTime, ...]
    pictures: tuple[Picture, ...] = ()


class Border(Record, frozen=True, kw_only=True):
    """A border between two blocks where the type changes: tensors cross it and are converted.

    `tensors` is how many; `here` and `there` are precision names on this block's side and the other's.
    """

    other: str
    enters: bool
    tensors: int
    here: str
    there: str


class Neighbour(Record, frozen=True, kw_only=True):
    """A trial that differs from the explained one in a few blocks.

    Attributes:
        choices: (block, precision there) of the blocks that differ.
        latency_ms, loss: that trial's minus the explained one's.
        latency_is_sure, loss_is_sure: whether that is beyond the intervals and the study's noise.
    """

    number: int
    choices: tuple[tuple[str, str], ...]
    latency_ms: float
    latency_is_sure: bool
    loss: float
    loss_is_sure: bool


class BlockReasons(Record, frozen=True, kw_only=True):
    """One block of a trial: what its precision gained and cost, and how that is known.

    Attributes:
        precision, usual: what the block runs in here, and in the reference.
        time_ms, usual_ms: its profiled share of the measured latency, here and in the reference; None where
            that was not profiled.
        kernels, usual_kernels: how many kernels its nodes run in: more than usual are lost fusions.
        alone: mask loss with this block alone in this precision; None if not measured.
        borders: where the type changes beside it.
        neighbours: trials that differ in this block and few others, nearest first.
        tried: (other precision, complete trials that have it here).
    """

    block: str
    precision: str
    usual: str
    time_ms: float | None = None
    usual_ms: float | None = None
    kernels: int = 0
    usual_kernels: int = 0
    alone: float | None = None
    borders: tuple[Border, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    tried: tuple[tuple[str, int], ...] = ()
    sureness: Sureness = "unknown"


class Explanation(Record, frozen=True, kw_only=True):
    """Why a trial is as fast and as good as it is.

    Attributes:
        number: of the trial.
        speedup, loss: over the reference, with `speedup_interval` and `loss_interval`.
        conversion_ms, usual_conversion_ms: the same share of what runs outside every block (casts, changes
            of layout), here and in the reference.
        blocks: in graph order.
    """

    number: int
    speedup: float
    speedup_interval: Interval
    loss: float
    loss_interval: Interval
    blocks: tuple[BlockReasons, ...]
    # Of no block: without it the blocks' times would not add up to the latency.
    conversion_ms: float | None = None
    usual_conversion_ms: float | None = None


class Findings(Record, frozen=True, kw_only=True):
    """Everything that a report shows.

    Attributes:
        made: ISO 8601 date.
        definition: the study's definition as text.
        trials, front: as stored.
        picked: number of the front's point that `export` takes by default; None if there is none.
        marks: number of a front's point to what it is picked as: the knee, the fastest within the accepted
            loss.
        volumes: after each complete trial, the area behind the front as a part of the rectangle between the
            origin and `corner` (latency in ms, loss).
        sensitivity: block, then precision, to the loss with that block alone in that precision.
        explanations, inspections: by trial number; of those front points that were looked into.
        usual: the reference's own inspection.
        clock: what latencies are, in words; empty before the first.
        missing: what the report leaves out, and why, one line each.
        fidelity: how far the steps to a measurement are from the original model.
    """

    study: str
    made: str
    versions: tuple[tuple[str, str], ...]
    definition: str
    blocks: tuple[Block, ...]
    identity: Identity
    reference: Reference | None
    trials: tuple[TrialRecord, ...]
    front: tuple[TrialRecord, ...]
    picked: int | None
    nights: tuple[NightSummary, ...]
    marks: dict[int, str] = msgspec.field(default_factory=dict)
    corner: tuple[float, float]
    volumes: tuple[tuple[int, float], ...]
    sensitivity: dict[str, dict[str, float]]
    # By number, not in a list beside the front: a point whose inspection failed has none.
    explanations: dict[int, Explanation]
    inspections: dict[int, Inspection]
    usual: Inspection | None = None
    clock: str = ""
    missing: tuple[str, ...] = ()
    fidelity: tuple[Departure, ...] = ()


class PlannedTrial(Record, frozen=True, kw_only=True):
    """An assignment that would be measured; `label` names an anchor."""

    origin: Origin
    assignment: Assignment
    label: str = ""


class SearchPlan(Record, frozen=True, kw_only=True):
    """What the next run of a search would do.

    Attributes:
        study, strategy, seed, budget: what it would be started with.
        blocks: with what each may have; `is_judged` if the engine has been asked, not the operators alone.
        assignments: how many there are.
        trials_known: of earlier nights.
        timing_seconds: the most that timing takes in a trial, from the definition.
        trial_seconds: median of a trial; None before one was measured.
        seconds: of the whole run: a budget in time, or its trials by that median; None if unknown.
        peak_memory_bytes: the most that a trial took; None before one was measured.
        weight_bytes: of the model as it came.
        first: the first trials; before the anchors are measured, those alone are known.
    """

    study: str
    strategy: str
    seed: int
    budget: str
    blocks: tuple[Block, ...]
    is_judged: bool
    assignments: int
    trials_known: int
    timing_seconds: float
    trial_seconds: float | None
    seconds: float | None
    peak_memory_bytes: int | None
    weight_bytes: int
    first: tuple[PlannedTrial, ...]
