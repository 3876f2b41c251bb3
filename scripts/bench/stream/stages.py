"""One row's figures: memory and rate of calibration, the reference pass and scoring."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
from cases import Case
from steps import steps

from autoprec.backends import Backend, Engine, create_backend, run
from autoprec.calibration import WHOLE_SAMPLES, calibrate, channel_axes, quantizable
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.statistics.instruments import sampling
from autoprec.graph.statistics.ranges import Histograms
from autoprec.measurement import Score, Setup
from autoprec.measurement.pipeline import Pipeline
from autoprec.measurement.workbench import Workbench
from autoprec.records import Assignment
from autoprec.samples import Sample, ahead, load_samples
from autoprec.spec import BackendSection, QualitySection, TimingSection

Figures = dict[str, Any]
T = TypeVar("T")


def peak_mb() -> float:
    """Peak resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def alone(engines: tuple[Engine, ...], seconds: float = 3.0) -> float:
    """Samples per second of prepared engines, run one after the other."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for engine in engines:
            engine.execute()
        count += 1
    return count / (time.perf_counter() - start)


class Stage:
    """A stage, between two readings of the engines alone."""

    def __init__(self, name: str, engines: tuple[Engine, ...]) -> None:
        self._name, self._engines, self._before = name, engines, alone(engines)
        self._others, self._start = others_seconds(), time.perf_counter()

    def figures(self, samples: int, seconds: float, once: float) -> Figures:
        """Figures of the finished stage, whose samples took `seconds`, beside a fixed cost of `once`."""
        others = max(0.0, others_seconds() - self._others) / (time.perf_counter() - self._start)
        after = alone(self._engines)
        rate = samples / seconds / ((self._before + after) / 2) if samples else None
        rates = {
            "setup_s": round(once, 2),
            "rate": rate and round(rate, 3),
            "sample_ms": round(seconds / samples * 1e3, 2) if samples else None,
            "alone_ms": [round(1e3 / self._before, 2), round(1e3 / after, 2)],
            "cores_of_others": round(others, 2),
        }
        return {f"{self._name} {key}": value for key, value in rates.items()}


def others_seconds() -> float:
    """Processor seconds that other processes of this machine have used."""
    times, own = psutil.cpu_times(), time.process_time()
    return float(times.user + times.nice + times.system + times.steal) - own


def timed(step: Callable[[], T]) -> tuple[T, float]:
    """The result of a step, and its seconds."""
    start = time.perf_counter()
    return step(), time.perf_counter() - start


def calibrated(
    case: Case, count: int, folder: Path, backend: Backend, engine: Engine
) -> tuple[Histograms, Figures]:
    """Calibrate, and measure what it costs. The first samples, observed whole, and both builds are paid once.

    Args:
        case: what is calibrated.
        count: number of calibration samples.
        folder: takes the instrumented model.
        backend: builds it.
        engine: of the model, timed alone before and after for comparison.

    Returns:
        The histograms, and the figures for the samples after the first ones.
    """
    samples, stage = load_samples(case.samples, "calibration", case.shapes), Stage("calibration", (engine,))
    first, start, once = min(count, WHOLE_SAMPLES + 1), time.perf_counter(), 0.0

    def progress(so_far: Histograms) -> None:
        nonlocal once
        if so_far.samples == first:
            once = time.perf_counter() - start

    feeds = (sample.inputs for sample in ahead(samples))
    histograms = calibrate(load_model(case.model), backend, feeds, folder / "instrumented.onnx", progress)
    seconds = time.perf_counter() - start - once
    return histograms, stage.figures(count - first, seconds, once)


def measure(case: Case, count: int, folder: Path) -> Figures:
    """Figures of one row, in this process."""
    backend, model = create_backend("openvino", {}), load_model(case.model)
    engine = backend.build(case.model)
    first = load_samples(case.samples, "evaluation", case.shapes)[0]
    engine.prepare(first.inputs)
    histograms, result = calibrated(case, count, folder, backend, engine)
    result["peak_mb_calibration"] = round(peak_mb())
    blocks = partition(model, minimum=1)
    rewriter = Rewriter(model, blocks, histograms.ranges("percentile", 99.99), base="fp32")
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", "int8")}
    for name, path in paths.items():
        rewriter.write(Assignment(choices=tuple((b.name, name) for b in blocks)), path)
    setup = Setup(
        backend=BackendSection(),
        pipeline=case.pipeline,
        samples=case.samples,
        quality=QualitySection(),
        timing=TimingSection(),
        shapes=case.shapes,
        reference_path=str(paths["fp32"]),
        reference_digest="",
        masks_path=str(folder / "kept" / "reference.masks"),
    )
    behind = decoder(case, backend, engine, first)
    stage = Stage("reference", (engine, *behind))
    limited = msgspec.structs.replace(case.samples, evaluation_limit=1)
    alike = msgspec.structs.replace(setup, samples=limited, masks_path="")
    _, once = timed(lambda: Workbench(alike))
    bench, seconds = timed(lambda: Workbench(setup))
    result |= stage.figures(count - 1, seconds - once, once)
    candidate = backend.build(paths["int8"])
    candidate.prepare(first.inputs)
    stage = Stage("scoring", (candidate, *behind))
    request = Score(setup=setup, candidate_path=str(paths["int8"]), samples=1)
    _, once = timed(lambda: bench.score(request))
    _, seconds = timed(lambda: bench.score(msgspec.structs.replace(request, samples=count)))
    result |= stage.figures(count - 1, seconds - once, once)
    result["peak_mb"] = round(peak_mb())
    observed, channels = quantizable(model), channel_axes(model)
    few = folder / "few.onnx"
    write_model(sampling(model, {name: channels.get(name, 1) for name in observed}), few)
    with backend.build(few) as sampled:
        result["steps_ms"] = steps(case, bench, candidate, sampled, histograms)
    return {"images": count, **result}


def decoder(case: Case, backend: Backend, engine: Engine, first: Sample) -> tuple[Engine, ...]:
    """Build the decoder of a case and place a sample in it; empty if the case has none.

    Args:
        case: the models.
        backend: builds the decoder.
        engine: the encoder, whose outputs feed the decoder.
        first: the sample.
    """
    if not case.pipeline.decoder:
        return ()
    built = backend.build(Path(case.pipeline.decoder))
    values = run(engine, first.inputs)
    prompts, _ = next(iter(Pipeline(backend, case.pipeline).runs(values, first)))
    built.prepare({**values, **prompts})
    return (built,)
