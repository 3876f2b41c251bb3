"""Memory and rate of calibration and scoring over a folder: 100 and 10,000 images, on two models.

Each row runs in a process of its own: calibration as the study does it, then the reference pass and the
scoring of an INT8 candidate as its worker does them. The toy is a few convolutions at 512x512, so quick that
reading matters; the demo is the shipped encoder with its decoder, prompts and true masks at 256x256. Peaks
are of resident memory. Rates are of wall time against the engines alone on one placed sample, timed before
and after each stage; what a stage costs once is a column of its own. Images are drawn or copied once and
linked under many names. Writes `stream_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from autoprec.backends import Backend, Engine, create_backend, run
from autoprec.calibration import WHOLE_SAMPLES, calibrate, channel_axes, quantizable
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.statistics.instruments import sampling
from autoprec.graph.statistics.ranges import Histograms
from autoprec.measurement import Score, Setup
from autoprec.measurement.workbench import Workbench
from autoprec.quality import create_metric
from autoprec.records import Assignment
from autoprec.samples import Sample, ahead, load_samples
from autoprec.spec import BackendSection, PipelineSection, QualitySection, SamplesSection, TimingSection

ROOT = Path(__file__).resolve().parents[2]
SIZE, DRAWN = 512, 50
LIMIT_MB, RATE = 200, 0.9
Figures = dict[str, Any]
T = TypeVar("T")


class Case(NamedTuple):
    """A model, what stands behind it, and its images."""

    model: Path
    shapes: dict[str, tuple[int, ...]]
    pipeline: PipelineSection
    samples: SamplesSection


def toy(folder: Path, count: int, width: int) -> Case:
    """Convolutions of `width` channels with stride 4 in front, a mask of a quarter of the size behind."""
    random = np.random.default_rng(0)
    nodes, weights, value, inputs = [], [], "image", 3
    for number, (outputs, kernel, stride) in enumerate([(width, 4, 4), *[(width, 3, 1)] * 4, (1, 1, 1)]):
        array = random.standard_normal((outputs, inputs, kernel, kernel)) / np.sqrt(inputs * kernel * kernel)
        weights.append(numpy_helper.from_array(array.astype(np.float32), f"w{number}"))
        made = "masks" if number == 5 else f"c{number}"
        pads = [1] * 4 if kernel == 3 else [0] * 4
        nodes.append(
            helper.make_node(
                "Conv", [value, f"w{number}"], [made], f"conv{number}", strides=[stride] * 2, pads=pads
            )
        )
        value, inputs = made, outputs
        if number < 5:
            nodes.append(helper.make_node("Relu", [value], [f"r{number}"], f"relu{number}"))
            value = f"r{number}"
    small, path = SIZE // 4, folder / "model.onnx"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    masks = helper.make_tensor_value_info("masks", TensorProto.FLOAT, [1, 1, small, small])
    graph = helper.make_graph(nodes, "stream", [image], [masks], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)
    images = str(draw_images(folder / "images", count))
    samples = SamplesSection(calibration=images, evaluation=images)
    return Case(path, {"image": (1, 3, SIZE, SIZE)}, PipelineSection(), samples)


def draw_images(folder: Path, count: int) -> Path:
    """JPEGs of smooth noise; the same few under `count` names, by hard links."""
    folder.mkdir()
    random = np.random.default_rng(1)
    drawn = []
    for number in range(min(DRAWN, count)):
        coarse = Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        drawn.append(folder / f"{number:06}.jpg")
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(drawn[-1], quality=90)
    for number in range(len(drawn), count):
        os.link(drawn[number % len(drawn)], folder / f"{number:06}.jpg")
    return folder


def demo(folder: Path, count: int) -> Case:
    """The shipped model; its evaluation images with their prompts and masks under `count` names."""
    shipped, made = ROOT / "studies" / "data" / "demo" / "evaluation", folder / "scenes"
    shutil.copytree(shipped, folder / "shipped")
    asked, prompts = json.loads((shipped / "prompts.json").read_text()), {}
    (made / "images").mkdir(parents=True)
    (made / "masks").mkdir()
    for number in range(count):
        name = sorted(asked)[number % len(asked)]
        prompts[f"{number:06}.jpg"] = asked[name]
        os.link(folder / "shipped" / "images" / name, made / "images" / f"{number:06}.jpg")
        os.link(
            folder / "shipped" / "masks" / Path(name).with_suffix(".png"), made / "masks" / f"{number:06}.png"
        )
    (made / "prompts.json").write_text(json.dumps(prompts))
    models = ROOT / "studies" / "models"
    pipeline = PipelineSection(decoder=str(models / "demo_decoder.onnx"), output="masks")
    samples = SamplesSection(calibration=str(made), evaluation=str(made))
    return Case(models / "demo_encoder.onnx", {"image": (1, 3, 256, 256)}, pipeline, samples)


def peak_mb() -> float:
    """Peak resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def alone(engines: tuple[Engine, ...], seconds: float = 3.0) -> float:
    """Samples a second of prepared engines, one behind the other."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for engine in engines:
            engine.execute()
        count += 1
    return count / (time.perf_counter() - start)


class Stage:
    """What a stage did between two readings of the engines alone."""

    def __init__(self, name: str, engines: tuple[Engine, ...]) -> None:
        self._name, self._engines, self._before = name, engines, alone(engines)
        self._others, self._start = others_seconds(), time.perf_counter()

    def figures(self, samples: int, seconds: float, once: float) -> Figures:
        """At its end: so many samples took `seconds`, besides what it costs `once`."""
        others = max(0.0, others_seconds() - self._others) / (time.perf_counter() - self._start)
        after = alone(self._engines)
        rate = samples / seconds / ((self._before + after) / 2) if samples else None
        found = {
            "setup_s": round(once, 2),
            "rate": rate and round(rate, 3),
            "sample_ms": round(seconds / samples * 1e3, 2) if samples else None,
            "alone_ms": [round(1e3 / self._before, 2), round(1e3 / after, 2)],
            "cores_of_others": round(others, 2),
        }
        return {f"{self._name} {key}": value for key, value in found.items()}


def others_seconds() -> float:
    """Processor seconds that other processes of this machine have had."""
    times, own = psutil.cpu_times(), time.process_time()
    return float(times.user + times.nice + times.system + times.steal) - own


def timed(step: Callable[[], T]) -> tuple[T, float]:
    """What a step gives, and its seconds."""
    start = time.perf_counter()
    return step(), time.perf_counter() - start


def calibrated(
    case: Case, count: int, folder: Path, backend: Backend, engine: Engine
) -> tuple[Histograms, Figures]:
    """The first samples, which are observed whole, and both builds are what is paid once."""
    samples, stage = load_samples(case.samples, "calibration", case.shapes), Stage("calibration", (engine,))
    first, start, once = min(count, WHOLE_SAMPLES + 1), time.perf_counter(), 0.0

    def progress(so_far: Histograms) -> None:
        nonlocal once
        if so_far.samples == first:
            once = time.perf_counter() - start

    feeds = (sample.inputs for sample in ahead(samples))
    found = calibrate(load_model(case.model), backend, feeds, folder / "instrumented.onnx", progress)
    seconds = time.perf_counter() - start - once
    return found, stage.figures(count - first, seconds, once)


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
    """The decoder, if there is one, with a sample placed."""
    if not case.pipeline.decoder:
        return ()
    built = backend.build(Path(case.pipeline.decoder))
    built.prepare({**run(engine, first.inputs), **first.prompts})
    return (built,)


def milliseconds(step: Callable[[], Any], repeats: int = 60) -> float:
    """Processor time of a step by itself, which neighbours do not stretch."""
    step()
    start = time.process_time()
    for _ in range(repeats):
        step()
    return round((time.process_time() - start) / repeats * 1e3, 3)


def steps(
    case: Case, bench: Workbench, candidate: Engine, sampled: Engine, histograms: Histograms
) -> dict[str, float]:
    """Where the processor's milliseconds of one sample go."""
    samples, sample, metric = bench.samples, bench.samples[0], create_metric(bench.setup.quality)
    folder, values = Path(case.samples.evaluation), run(sampled, sample.inputs)
    image = next((folder / "images" if (folder / "images").is_dir() else folder).glob("*0.jpg"))
    logits, reference = bench.pipeline.logits(candidate, sample), bench.masks[0]

    def observe() -> None:
        for name, array in values.items():
            histograms.observe(name, array)
            histograms.observe_channels(name, array, 1)

    found = {
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
    time.sleep(3)  # until it reads
    found["INT8 engine beside a process that reads"] = milliseconds(candidate.execute)
    process.kill()
    process.join()
    return found


def keep_reading(samples: SamplesSection, shapes: dict[str, tuple[int, ...]]) -> None:
    """Keep a core as busy as a reader does."""
    found = load_samples(samples, "evaluation", shapes)
    while True:
        found[0]


def text(rows: dict[str, list[Figures]]) -> str:
    """The report: a table of stages for each model, and one of steps."""
    head = (
        f"Peak resident memory grows by {grown_mb(rows)} MB from the smallest to the largest number of "
        f"images (limit: {LIMIT_MB}). Rates are samples a second over those of the engines alone on one "
        f"placed sample (wanted: {RATE}), in one run; `alone_ms` is from just before and just after each "
        "stage, `cores_of_others` what other processes took of the machine meanwhile. `setup_s` is paid "
        f"once, whatever the number of samples: builds, and in calibration the first {WHOLE_SAMPLES} "
        "samples, which are observed whole."
    )
    lines = [f"# Streaming, {datetime.date.today()}", "", head, ""]
    for model, figures in rows.items():
        keys = [key for key in figures[0] if key not in ("images", "steps_ms")]
        lines += [
            f"## {model}",
            "",
            f"| images | {' | '.join(str(row['images']) for row in figures)} |",
            f"|{'---|' * (len(figures) + 1)}",
            *(f"| {key} | {' | '.join(_cell(row[key]) for row in figures)} |" for key in keys),
            "",
            "Processor milliseconds of one sample, each step by itself:",
            "",
            "| step | ms |",
            "|---|---|",
            *(f"| {step} | {value} |" for step, value in figures[-1]["steps_ms"].items()),
            "",
            bound(figures[-1]),
            "",
        ]
    return "\n".join(lines)


def bound(row: Figures) -> str:
    """What the cores allow for scoring, whose engine is the quickest."""
    took, cores = row["steps_ms"], os.cpu_count() or 1
    engine, alone_ms = took["INT8 engine to masks"], sum(row["scoring alone_ms"]) / 2
    beside = took["decode, resize, normalise, truth"] + took["compare"]
    best = alone_ms / max(engine, (engine + beside) / cores)
    return (
        f"Scoring with INT8: {engine:.2f} ms on the engine's core, {beside:.2f} ms beside it to read and to "
        f"compare, so {cores} cores that lose no time allow a rate of {min(1.0, best):.2f} at most."
    )


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " / ".join(map(str, value))
    return "" if value is None else str(value)


def grown_mb(rows: dict[str, list[Figures]]) -> int:
    """The most that memory grows with the number of images, of any model."""
    return max(int(figures[-1]["peak_mb"] - figures[0]["peak_mb"]) for figures in rows.values())


def main() -> None:
    """Run every row in its own process and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100,10000", help="numbers of images for the toy")
    parser.add_argument("--width", type=int, default=24, help="the toy's channels")
    parser.add_argument("--demo", default="100,1000", help="numbers of images for the demo; empty for none")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    options = parser.parse_args()
    if options.one:
        name, _, count = options.one.partition(":")
        with tempfile.TemporaryDirectory() as made:
            folder, size = Path(made), int(count)
            case = toy(folder, size, options.width) if name == "toy" else demo(folder, size)
            print(json.dumps(measure(case, size, folder)))
        return
    rows: dict[str, list[Figures]] = {}
    for name, sizes in (("toy", options.sizes), ("demo", options.demo)):
        for size in filter(None, sizes.split(",")):
            command = [sys.executable, __file__, "--one", f"{name}:{size}", "--width", str(options.width)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[name][-1], flush=True)
    result = {
        "machine": platform.processor(),
        "cores": os.cpu_count(),
        "growth_mb": grown_mb(rows),
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"stream_{datetime.date.today()}"
    target.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    target.with_suffix(".md").write_text(text(rows))


if __name__ == "__main__":
    main()
