"""The worker's side: builds, scores, times and audits candidates; keeps the reference between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

import numpy as np

from autoprec.backends import BuildsAhead, BuildsUntimed, Engine, computes, run
from autoprec.backends.ratios import BUILD_SPREAD
from autoprec.backends.timing import Pace, elapsed, pair
from autoprec.errors import BLAMELESS, ModelError, SamplesError, StudyError, TrialError
from autoprec.measurement.audit import audit
from autoprec.measurement.fidelity.exactness import Running, checked
from autoprec.measurement.lease import DeviceLease, undisturbed
from autoprec.measurement.masks import Logits, ReferenceMasks, turn
from autoprec.measurement.messages import Job, Score, Setup
from autoprec.measurement.pipeline import Pipeline, beside_of
from autoprec.measurement.reaching import reach
from autoprec.measurement.scoring import Scores
from autoprec.quality import Metric, Survey, check_reference, create_metric
from autoprec.records import (
    Exactness,
    Interval,
    KernelTime,
    Latency,
    Measurement,
    Quality,
    StageSeconds,
    surely_dominated,
)
from autoprec.samples import ahead, behind, ensure_same, load_samples

_PROFILE_RUNS = 5
_RACE = (4, 2, 1)
"""A candidate is scored on one in this many samples, step by step, while it may still be worth it."""
_FEWEST = 8
"""Samples below which an interval of the loss says little."""
OnStage = Callable[[str], None]


class Workbench:
    """The reference's engine, its masks, the decoder and the samples of one `Setup`.

    Args:
        setup: what stays the same from candidate to candidate.
        on_stage: receives every step.
        say: receives what the user should know.
        first: the candidate that is asked for next, whose build begins beside the reference's where builds
            leave the device alone; None for none.

    Raises `TrialError` or `UserError` where the reference itself cannot be built or run.
    """

    def __init__(
        self,
        setup: Setup,
        on_stage: OnStage = lambda _: None,
        say: OnStage = lambda _: None,
        first: Path | None = None,
    ) -> None:
        self.setup = setup
        self.backend = reach(setup.backend, on_stage)
        if first and isinstance(self.backend, BuildsAhead) and not self.backend.builds_on_device:
            on_stage("build")
            self.backend.build_ahead(first)
        on_stage("reference")
        self.lease = DeviceLease(setup.device if computes(self.backend) else "")
        self.samples = load_samples(setup.samples, "evaluation", setup.shapes)
        self._ensure_same()
        self.pipeline, self._reference = self._first_engines(setup)
        more = setup.timing.builds - 1 if self.backend.stopwatch in BUILD_SPREAD else 0
        self._more_references = [self.build(Path(setup.reference_path)) for _ in range(more)]
        kept = Path(setup.masks_path) if setup.masks_path else None
        self.survey = Survey(setup.quality.threshold)
        self._spent = ExitStack()
        # One process after the other: the first one runs the reference, the others read what it kept.
        with turn(kept):
            self.masks = ReferenceMasks(Path(setup.reference_path).parent, kept, say=say)
            try:
                with self.lease.running():
                    self._run_reference(on_stage)
            except TrialError as error:
                if error.kind in BLAMELESS:  # as a line to a target that is cut: it is tried again
                    raise
                raise ModelError(f"the reference cannot be run: {error}") from error
            try:
                # Again, since a pass takes minutes: what is kept is believed by every later run.
                self._ensure_same()
            except SamplesError:
                self.masks.forget()
                raise
            self.masks.share()
        if setup.is_whole:
            check_reference(setup.quality, self.survey)

    def _first_engines(self, setup: Setup) -> tuple[Pipeline, Engine]:
        """The pipeline with its decoder, and the reference's engine, built in parallel where builds leave
        the device alone and what is built is not timed."""
        build = partial(self.build, Path(setup.reference_path))
        decode = partial(Pipeline.of, self.backend, setup, beside_of(self.backend, setup.threads))
        if isinstance(self.backend, BuildsUntimed) and not self.backend.builds_on_device:
            with ThreadPoolExecutor(1, "decoder") as pool, suppress(TrialError):
                warmed = pool.submit(self._warmed, decode)
                reference = build()
                return warmed.result(), reference
            # What fails in parallel fails again, where its words are not those of the other build.
        return decode(), build()

    def _warmed(self, decode: Callable[[], Pipeline]) -> Pipeline:
        """A pipeline whose decoder has run once, while no other process times an engine."""
        pipeline = decode()
        with self.lease.running():
            pipeline.warm(self.samples[0])
        return pipeline

    def metric(self) -> Metric:
        """A fresh metric that knows what the reference's masks are like."""
        return create_metric(self.setup.quality, self.survey)

    @property
    def places(self) -> dict[str, int]:
        """Where each sample is, by name."""
        return {name: index for index, name in enumerate(self.masks.names)}

    def measure(self, job: Job, on_stage: OnStage) -> Measurement:
        """Measure one candidate. Raises `TrialError` with the step that failed.

        Its engine is kept until `clear`: a GPU's takes long to let go, time to prepare the next candidate in.
        """
        self.clear()
        _forget_peak_memory()  # the count only rises: it would be that of the largest candidate so far
        held, waited, decoding = _peak_memory_bytes(), self.lease.waited, self.pipeline.decoding
        with elapsed() as total, ExitStack() as stack:
            on_stage("build")
            with elapsed() as build:
                engine = stack.enter_context(self.build(path := Path(job.candidate_path)))
            scores, subsets = self._scores(engine, on_stage), iter(_RACE if job.front else _RACE[-1:])
            on_stage("score")
            with self.lease.running() as pause, elapsed() as first:
                scores.pause = pause
                quality = scores.of_first(max(_FEWEST, len(self.samples) // next(subsets)))
            scored_peak = _peak_memory_bytes()  # before there are more builds of it
            on_stage("time")
            with ExitStack() as more:
                others = [more.enter_context(self.build(path)) for _ in self._more_references]
                with undisturbed(self.lease, job.behind), elapsed() as timing:
                    latency = self._time(engine, others, lambda ratio: _is_lost(job, ratio, quality))
            on_stage("score")
            with self.lease.running() as pause, elapsed() as rest:
                scores.pause = pause
                for part in subsets:
                    if _is_lost(job, latency.ratio_interval, quality):
                        break
                    quality = scores.of_first(max(_FEWEST, len(self.samples) // part))
            on_stage("compare")
            with elapsed() as comparing:
                exact = self._checked(job, engine, latency, quality)
            kernels = engine.kernels()
            engine_bytes, device_bytes = engine.engine_bytes, engine.device_memory_bytes
            with elapsed() as profiling:
                if job.profiled:
                    stack.close()  # two engines of a candidate may not fit
                    on_stage("profile")
                    kernels = self._profile(path)
            self._spent = stack.pop_all()
        self._ensure_same()
        return Measurement(
            latency=latency,
            quality=quality,
            latency_ms=latency.ratio * (job.reference_latency_ms or latency.reference_median_ms),
            engine_bytes=engine_bytes,
            peak_memory_bytes=device_bytes or max(0, scored_peak - held),  # processors report none
            audit=audit(job.blocks, job.assignment, kernels, job.heavy),
            seconds=StageSeconds(
                build=build.seconds,
                run=first.seconds + rest.seconds + comparing.seconds + profiling.seconds,
                decode=self.pipeline.decoding - decoding,
                compare=comparing.seconds,
                timing=timing.seconds,
                wait=self.lease.waited - waited,
                total=total.seconds,
            ),
            exactness=exact,
        )

    def clear(self) -> None:
        """Let go of the last candidate's engine."""
        self._spent.close()

    def build(self, path: Path, *, profiled: bool = False) -> Engine:
        """An engine of the study's backend; one that times kernels to choose them has the device alone.

        Raises `TrialError`.
        """
        with self.lease.alone() if self.backend.builds_on_device else nullcontext():
            return self.backend.build(path, profiled=profiled)

    def score(self, request: Score) -> Quality:
        """Score one candidate without timing it. Raises `TrialError`."""
        with self.build(Path(request.candidate_path)) as engine, self.lease.running():
            quality = self._scores(engine).of_first(request.samples)
        self._ensure_same()
        return quality

    def _ensure_same(self) -> None:
        """Raise `SamplesError` if files of the set were changed: none of what was read of it may be kept."""
        if self.setup.samples_digest:
            ensure_same(self.samples, self.setup.samples_digest, "evaluation")

    def _scores(self, engine: Engine, on_stage: OnStage = lambda _: None) -> Scores:
        return Scores(self.metric(), self.pipeline, self.samples, self.masks, engine, on_stage)

    def _time(self, engine: Engine, more: Sequence[Engine], settled: Callable[[Interval], bool]) -> Latency:
        """Paired rounds of it and `more` builds of it on the first sample, until `settled` by the ratio."""
        timing, inputs = self.setup.timing, self.samples[0].inputs
        for each in (self._reference, engine, *self._more_references, *more):
            each.prepare(inputs)
        return pair(
            self._reference,
            engine,
            self.backend,
            timing,
            others=list(zip(self._more_references, more, strict=True)),
            settled=settled,
        )

    def _checked(self, job: Job, engine: Engine, latency: Latency, quality: Quality) -> Exactness | None:
        """Exact arithmetic takes seconds of the CPU: timings wait for it only where they are made there."""
        whole: AbstractContextManager[object] = nullcontext()
        running: Running = self.lease.running
        if self.backend.stopwatch in ("host", "processor"):
            # On a CPU exact arithmetic would disturb a timing as much as an engine does: held all the while.
            whole, running = self.lease.running(), nullcontext
        with whole:
            return checked(job, self.backend, engine, self.samples, latency, quality, running)

    def _profile(self, path: Path) -> tuple[KernelTime, ...]:
        """Kernel times of a second, instrumented engine: the timed one must not pay for the profile.

        TensorRT's is of the very plan that was timed, which it keeps.
        """
        with self.build(path, profiled=True) as engine, self.lease.alone():
            for _ in range(_PROFILE_RUNS):
                run(engine, self.samples[0].inputs)
            return engine.kernels()

    def _run_reference(self, on_stage: OnStage) -> None:
        """Keep the masks that are missing. Raises `ModelError` for NaN, which FP16 engines of SAM's family
        are known for."""
        # The survey is of all samples, those too whose masks an earlier run has kept.
        for kept in self.masks:
            self.survey.add(kept)
        pace = Pace(len(self.samples), len(self.masks))
        left = ahead(self.samples, len(self.masks))
        begun = ((sample.name, self.pipeline.begin(self._reference, sample)) for sample in left)
        for _ in behind(begun, self._keep):
            if line := pace.line(len(self.masks)):
                on_stage(f"reference, {line}")

    def _keep(self, begun: tuple[str, Callable[[], Logits]]) -> None:
        """Decode, check and keep the reference's masks of one sample."""
        name, logits = begun[0], begun[1]()
        if not np.isfinite(logits).all():
            raise ModelError(
                f"the reference's masks of {name} hold NaN or infinity: "
                'in a copy of the definition set search.reference = "fp16-safe", "bf16" or "fp32"'
            )
        self.survey.add(logits)
        try:
            self.masks.append(name, logits)
        except OSError as error:
            raise StudyError(f"the reference's masks cannot be kept: {error}") from error


def _is_lost(job: Job, ratio: Interval, quality: Quality) -> bool:
    """Whether a point of the job's front surely dominates a candidate of that ratio and quality."""
    reference_ms = job.reference_latency_ms
    if reference_ms is None:
        return False
    return surely_dominated(ratio.scaled(reference_ms), quality.loss_interval, job.front)


def _forget_peak_memory() -> None:
    """Start the kernel's count of peak resident memory afresh (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_bytes() -> int:
    """Peak resident memory since it was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
