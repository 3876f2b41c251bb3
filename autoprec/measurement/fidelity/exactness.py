"""The worker's side of judging a candidate: its engine against the exact arithmetic of its own file.

A loss says how far masks are from the reference's. Whether that is quantisation, or an engine that computes
another function, only exact Q/DQ arithmetic shows: such an engine is *wrong* on the candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from autoprec.backends import Arrays, Backend, Builder, Engine, computes, run
from autoprec.backends.exact import WRONG, Deviation, Exact, deviation
from autoprec.backends.timing import Deadline
from autoprec.errors import TrialError
from autoprec.graph.model.unrounded import float_types
from autoprec.measurement.fidelity.departing import first_departing
from autoprec.measurement.fidelity.nudges import LEVELS, ROUNDING, nudged, write_nudged
from autoprec.measurement.messages import Job
from autoprec.precisions import PRECISIONS
from autoprec.records import UNLIKE, Exactness, Latency, Quality, in_words
from autoprec.samples import Sample, Samples

SAMPLES = 2
"""Samples that are run exactly."""
_SECONDS = 5.0
"""No further sample is begun after this many seconds."""
Running = Callable[[], AbstractContextManager[object]]
"""Takes the device for a while: exact arithmetic needs none, and nobody should wait for it."""
_AMPLIFIED = 3.0
"""Up to this multiple of it, a difference is rounding; the demo's anchors had 0.2 to 1.3 when right."""


def checked(
    job: Job,
    backend: Backend,
    engine: Engine,
    samples: Samples,
    latency: Latency,
    quality: Quality,
    running: Running = nullcontext,
) -> Exactness | None:
    """How exact a quantised anchor is, or a candidate that would be on the front; None for all others.

    Args:
        job: the candidate, and the front that it is raced against.
        backend, engine: of the candidate.
        samples: of the evaluation set.
        latency, quality: what was measured of it.
        running: held while an engine runs.

    Raises `TrialError("wrong", ...)` where the engine computes something other than the candidate's file.
    """
    if job.profiled and not any(PRECISIONS[name].is_quantized for _, name in job.assignment.choices):
        return None  # an anchor in floats: FP32 and the reference are compared with the original model
    if not computes(backend) or not _leads(job, latency, quality):
        return None
    path, threads = Path(job.candidate_path), job.setup.threads
    return ensured(backend, path, engine, samples, running, threads)


def ensured(
    backend: Backend,
    path: Path,
    engine: Engine,
    samples: Samples,
    running: Running = nullcontext,
    threads: int | None = None,
) -> Exactness:
    """`exactness` on the first samples. Raises `TrialError("wrong", ...)` for an engine that is wrong.

    Args:
        backend: what built the engine, and builds parts of the model to find the node.
        path: the candidate's file.
        engine: the candidate's.
        samples: the evaluation set.
        running: held while an engine runs.
        threads: of exact arithmetic; None takes every core.
    """
    few = [samples[place] for place in range(min(SAMPLES, len(samples)))]
    departure = exactness(backend, path, engine, few, running, threads)
    if departure.is_wrong:
        where = f"; the first node whose value departs is {departure.node}" if departure.node else ""
        raise TrialError(
            "wrong",
            f"the engine ({backend.name}) computes something other than the candidate's file: output "
            f"{departure.value!r} differs by {in_words(departure.error)}; rounding explains "
            f"{in_words(departure.tolerance)}{where}",
        )
    return departure


def _leads(job: Job, latency: Latency, quality: Quality) -> bool:
    """Whether no point of the job's front is as fast and as good as a candidate."""
    ms = latency.ratio * (job.reference_latency_ms or latency.reference_median_ms)
    return not any(
        (fast.low + fast.high) / 2 <= ms and (loss.low + loss.high) / 2 <= quality.loss
        for fast, loss in job.front
    )


def exactness(
    builder: Builder,
    path: Path,
    engine: Engine,
    samples: Sequence[Sample],
    running: Running = nullcontext,
    threads: int | None = None,
) -> Exactness:
    """How far an engine is from its file.

    Args:
        builder: makes engines of parts of the file, to find the first node whose value departs.
        path: the candidate's file.
        engine: built of it.
        samples: to run, one after the other.
        running: held while an engine runs.
        threads: of exact arithmetic; None takes every core.

    Raises `TrialError` if the engine fails.
    """
    with running():
        # All of the engine's runs first: the device is held for these alone, not for exact arithmetic.
        given = [run(engine, sample.inputs) for sample in samples]
    try:
        exact = Exact(threads, patient=False).build(path)  # the evaluator would hold up every trial
    except TrialError as error:
        return Exactness(missing=str(error))
    with exact:
        worst, at, done = Deviation("", 0.0), samples[0].inputs, 0
        deadline = Deadline(_SECONDS)
        for sample, outputs in zip(samples, given, strict=True):
            if deadline.is_over:
                break
            done += 1
            try:
                wanted = run(exact, sample.inputs)
            except TrialError as error:
                return Exactness(missing=str(error))
            departure = deviation(outputs, wanted)
            if departure.error >= worst.error:
                worst, at = departure, sample.inputs
        try:
            tolerance = _explained(path, exact, at, worst.error, threads) if worst.error > WRONG else WRONG
        except TrialError as error:
            return Exactness(missing=str(error))
    found_at = ""
    if worst.error > tolerance:
        with running():
            found_at = _first(builder, path, at, tolerance)
    return Exactness(
        error=min(worst.error, UNLIKE),
        value=worst.value,
        tolerance=tolerance,
        samples=done,
        node=found_at,
    )


def _explained(path: Path, exact: Engine, inputs: Arrays, error: float, threads: int | None) -> float:
    """How far rounding reaches in this very model, by exact arithmetic alone: no engine's fault is in it.

    Args:
        path, exact: the model, and its exact run.
        inputs: of the sample that departs most.
        error: by how much it departs; weights are nudged only where nudged inputs do not explain it.
        threads: of exact arithmetic.
    """
    floats, wanted = float_types(path), run(exact, inputs)
    spread = max([LEVELS, *(ROUNDING[kind] for kind in floats if kind in ROUNDING)])
    moved = deviation(run(exact, nudged(inputs, spread)), wanted).error
    if error > _AMPLIFIED * moved:
        with TemporaryDirectory(dir=path.parent, prefix=".exact-") as folder:
            target = Path(folder) / path.name
            write_nudged(path, target)
            with Exact(threads, patient=False).build(target) as other:
                moved = max(moved, deviation(run(other, inputs), wanted).error)
    return max(WRONG, _AMPLIFIED * moved)


def _first(builder: Builder, path: Path, inputs: Arrays, tolerance: float) -> str:
    with TemporaryDirectory(dir=path.parent, prefix=".exact-") as folder:
        return first_departing(builder, path, Exact(), path, inputs, tolerance=tolerance, folder=Path(folder))
