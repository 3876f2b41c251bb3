"""What is measured of one candidate."""

from __future__ import annotations

import math
from typing import Self

import msgspec

from autoprec.records._base import Interval, Record
from autoprec.records.fidelity import Exactness


class Clocks(Record, frozen=True, kw_only=True):
    """What the device's clocks, power and throttling said around a measurement; None where unknown.

    `power_mode` and `clocks_locked` are those of a board: what `nvpmodel` is set to, and whether
    `jetson_clocks` holds the GPU's clock.
    """

    sm_mhz: float | None = None
    memory_mhz: float | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    other_processes: int | None = None
    cpu_mhz: float | None = None
    load_average: float | None = None
    power_mode: str | None = None
    clocks_locked: bool | None = None


class Latency(Record, frozen=True, kw_only=True):
    """Paired latency of a candidate: it and the reference were timed in turn, round by round.

    Attributes:
        median_ms, p10_ms, p90_ms: the candidate's own rounds.
        rounds: number of paired rounds.
        reference_median_ms: the reference's median over the same rounds.
        ratio: trimmed mean over rounds of candidate / reference; below 1 is faster than the reference.
        ratio_interval: its confidence interval.
        before, after: clock readings around the rounds.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    rounds: int
    reference_median_ms: float
    ratio: float
    ratio_interval: Interval
    # Records are frozen: one default serves all.
    before: Clocks = Clocks()
    after: Clocks = Clocks()

    def interval_ms(self, reference_ms: float) -> Interval:
        """Interval of the paired latency, for a reference of this many ms."""
        return self.ratio_interval.scaled(reference_ms)


class SampleScore(Record, frozen=True, kw_only=True):
    """Score of one mask of one sample against the reference's mask; 1 is the same.

    `iou` repeats it where the score is an intersection over union; records of earlier versions have `iou`
    alone.
    """

    sample: str
    mask: int
    iou: float | None = None
    # NaN in a record of an earlier version, until `__post_init__` has filled it in.
    score: float = math.nan

    def __post_init__(self) -> None:
        if math.isnan(self.score) and self.iou is not None:
            # The record is frozen, but nobody has seen it yet.
            msgspec.structs.force_setattr(self, "score", self.iou)


class Quality(Record, frozen=True, kw_only=True):
    """How far a candidate's masks are from the reference's.

    Attributes:
        loss: the objective; 1 - mean mask IoU for the default metric. 0 is identical.
        loss_interval: bootstrap interval over samples; says nothing for one sample.
        miou, boundary_iou: weighted means over masks; None for a metric that is no IoU, or has no boundary.
        worst_loss: mean loss of the worst 5 % of masks.
        logit_error: root mean square error of the raw logits over the reference's standard deviation; None
            where masks came without their logits.
        truth_score: mean score against ground truth, where the user has it; `truth_miou` repeats it for IoU.
        samples: number of samples scored (racing may stop early); masks: number of masks.
        small_masks: how many of them count less, or not at all, since they are nearly empty.
        carriers: how many samples carry half of the loss; 0 without a loss, or where it is not known.
        worst: the masks that lose most, worst first; `typical`: those around the median.
        scored_as: what was compared, in a few words.
    """

    loss: float
    loss_interval: Interval
    miou: float | None = None
    boundary_iou: float | None = None
    worst_loss: float
    logit_error: float | None
    truth_miou: float | None = None
    truth_score: float | None = None
    # With defaults, as they came one after another: records of earlier versions lack the later ones.
    samples: int = 0
    masks: int = 0
    small_masks: int = 0
    carriers: int = 0
    worst: tuple[SampleScore, ...] = ()
    typical: tuple[SampleScore, ...] = ()
    scored_as: str = ""

    @property
    def score(self) -> float:
        """1 - loss."""
        return 1 - self.loss


class KernelTime(Record, frozen=True, kw_only=True):
    """One kernel of a built engine: the ONNX nodes in it, what ran, and for how long (0 if not timed).

    `precision` is a lower-case name as in `f32`, `bf16`, `f16`, `i8`, `f8`; empty if the engine hides it.
    """

    nodes: tuple[str, ...]
    kernel: str
    precision: str
    time_ms: float = 0.0


class BlockAudit(Record, frozen=True, kw_only=True):
    """What one `block` was `asked` to run in, what its kernels `ran` in, and its time.

    `matches` is None where the engine does not say; `time_ms` is 0 where it was not profiled; `detail` says
    what differs.
    """

    block: str
    asked: str
    ran: str
    # Three values: an engine that hides what ran must not fail `--strict` in every block.
    matches: bool | None
    time_ms: float
    detail: str = ""


class StageSeconds(Record, frozen=True, kw_only=True):
    """Where a trial's wall time went, in seconds; what other workers' trials took of it is `wait`.

    Attributes:
        rewrite, build, timing: of the candidate.
        run: scoring masks, comparing with exact arithmetic, profiling.
        decode: what the decoder behind the searched model took, within `run` or in parallel with it.
        compare: of `run`, exact arithmetic.
        wait: for the device, beside all of these.
        total: of the trial.
    """

    # With defaults: records of earlier versions lack the later stages.
    rewrite: float = 0.0
    build: float = 0.0
    run: float = 0.0
    decode: float = 0.0
    compare: float = 0.0
    timing: float = 0.0
    wait: float = 0.0
    total: float = 0.0


class Measurement(Record, frozen=True, kw_only=True):
    """All that one candidate's worker found out.

    Attributes:
        latency, quality: what was measured of its speed and of its masks.
        latency_ms: the first objective: `latency.ratio` times the study's reference latency.
        engine_bytes: size of the built engine.
        peak_memory_bytes: on the device, where the engine reports it; else of the process that ran it.
        audit: what each block ran in.
        seconds: where the trial's wall time went.
        exactness: how exactly the engine computes it; of those alone that may be recommended.
    """

    latency: Latency
    quality: Quality
    latency_ms: float
    engine_bytes: int
    peak_memory_bytes: int
    audit: tuple[BlockAudit, ...]
    seconds: StageSeconds
    exactness: Exactness | None = None

    @classmethod
    def of_objectives(
        cls, latency_ms: float, loss: float, *, reference_ms: float = 1.0, noise: float = 0.0
    ) -> Self:
        """A measurement of which no more than its two objectives is known, as in a table or a simulation.

        Args:
            latency_ms: of the candidate.
            loss: of its masks.
            reference_ms: latency of the reference.
            noise: half the width of the ratio's interval, relative to the ratio.
        """
        ratio, interval = latency_ms / reference_ms, Interval(low=loss, high=loss)
        latency = Latency(
            median_ms=latency_ms,
            p10_ms=latency_ms,
            p90_ms=latency_ms,
            rounds=1,
            reference_median_ms=reference_ms,
            ratio=ratio,
            ratio_interval=Interval(low=ratio * (1 - noise), high=ratio * (1 + noise)),
        )
        # Without samples there is no spread: the interval is the loss.
        quality = Quality(loss=loss, loss_interval=interval, miou=1 - loss, worst_loss=loss, logit_error=None)
        return cls(
            latency=latency,
            quality=quality,
            latency_ms=latency_ms,
            engine_bytes=0,
            peak_memory_bytes=0,
            audit=(),
            seconds=StageSeconds(),
        )
