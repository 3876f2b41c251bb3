"""Processor time of a sample, step by step."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import Case
from PIL import Image

from autoprec.backends import Engine, run
from autoprec.graph.statistics.ranges import Histograms
from autoprec.measurement.workbench import Workbench
from autoprec.quality import create_metric
from autoprec.samples import load_samples
from autoprec.spec import SamplesSection


def milliseconds(step: Callable[[], Any], repeats: int = 60) -> float:
    """Mean processor milliseconds of a step by itself, which neighbours do not stretch."""
    step()
    start = time.process_time()
    for _ in range(repeats):
        step()
    return round((time.process_time() - start) / repeats * 1e3, 3)


def steps(
    case: Case, bench: Workbench, candidate: Engine, sampled: Engine, histograms: Histograms
) -> dict[str, float]:
    """Milliseconds of one sample's steps, by name.

    Args:
        case: the model and its images.
        bench: has scored its reference.
        candidate: the INT8 engine, prepared.
        sampled: the engine that gives observed values.
        histograms: observe those values.
    """
    samples, sample, metric = bench.samples, bench.samples[0], create_metric(bench.setup.quality)
    folder, values = Path(case.samples.evaluation), run(sampled, sample.inputs)
    image = next((folder / "images" if (folder / "images").is_dir() else folder).glob("*0.jpg"))
    logits, reference = bench.pipeline.logits(candidate, sample), bench.masks[0]

    def observe() -> None:
        for name, array in values.items():
            histograms.observe(name, array)
            histograms.observe_channels(name, array, 1)

    times = {
        "decode": milliseconds(lambda: Image.open(image).load()),
        "decode, resize, normalise, truth": milliseconds(lambda: samples[0]),
        "place": milliseconds(lambda: candidate.prepare(sample.inputs)),
        "observed engine": milliseconds(sampled.execute),
        "observe": milliseconds(observe),
        "INT8 engine": milliseconds(candidate.execute),
        "INT8 engine to masks": milliseconds(lambda: bench.pipeline.logits(candidate, sample)),
        "compare": milliseconds(lambda: metric.update(sample.name, reference, logits, sample.truth)),
    }
    process = multiprocessing.get_context("spawn").Process(
        target=keep_reading, args=(case.samples, case.shapes)
    )
    process.start()
    time.sleep(3)  # it has to import and open the set first
    times["INT8 engine beside a process that reads"] = milliseconds(candidate.execute)
    process.kill()
    process.join()
    return times


def keep_reading(samples: SamplesSection, shapes: dict[str, tuple[int, ...]]) -> None:
    """Read samples forever, to keep a core as busy as a reader does."""
    loaded = load_samples(samples, "evaluation", shapes)
    while True:
        loaded[0]
