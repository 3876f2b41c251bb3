"""Memory and rate of calibration and scoring over a folder: 100 and 10,000 images of 512x512.

Each size runs in a process of its own, on the same model of a few convolutions: calibration as the study does
it, then scoring of a candidate as its worker does. Peaks are of resident memory; rates are of wall time,
against the engine alone on one sample. JPEGs are drawn once and linked under many names. Writes
`stream_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from autoprec.backends import Engine, create_backend
from autoprec.calibration import calibrate
from autoprec.graph.load import load_model
from autoprec.graph.partition import partition
from autoprec.graph.rewrite import Rewriter
from autoprec.measurement import Score, Setup
from autoprec.measurement.workbench import Workbench
from autoprec.records import Assignment
from autoprec.samples import ahead, load_samples
from autoprec.spec import BackendSection, PipelineSection, QualitySection, SamplesSection, TimingSection

ROOT = Path(__file__).resolve().parent.parent
SIZE, DRAWN = 512, 50
LIMIT_MB, RATE = 200, 0.9


def write_model(path: Path, width: int) -> Path:
    """Convolutions with stride 4 in front, a mask of a quarter of the size behind."""
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
    small = SIZE // 4
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    masks = helper.make_tensor_value_info("masks", TensorProto.FLOAT, [1, 1, small, small])
    graph = helper.make_graph(nodes, "stream", [image], [masks], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)
    return path


def write_images(folder: Path, count: int) -> Path:
    """JPEGs of smooth noise; the same few under `count` names, by hard links."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    drawn = []
    for number in range(min(DRAWN, count)):
        coarse = Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        drawn.append(folder / f"{number:06}.jpg")
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(drawn[-1], quality=90)
    for number in range(len(drawn), count):
        os.link(drawn[number % len(drawn)], folder / f"{number:06}.jpg")
    return folder


def peak_mb() -> float:
    """Peak resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def alone(engine: Engine, inputs: dict[str, Any], seconds: float = 4.0) -> float:
    """Inferences a second of an engine that is fed one placed sample."""
    engine.prepare(inputs)
    engine.execute()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        engine.execute()
        count += 1
    return count / (time.perf_counter() - start)


def measure(folder: Path, count: int, width: int) -> dict[str, float]:
    """Figures of one size, in this process."""
    path = write_model(folder / "model.onnx", width)
    images = write_images(folder / f"images{count}", count)
    section = SamplesSection(calibration=str(images), evaluation=str(images))
    model, backend = load_model(path), create_backend("openvino", {})
    shapes: dict[str, tuple[int, ...]] = {"image": (1, 3, SIZE, SIZE)}
    samples = load_samples(section, "calibration", shapes)
    engine = backend.build(path)
    before = alone(engine, dict(samples[0].inputs))
    start = time.perf_counter()
    histograms = calibrate(model, backend, (s.inputs for s in ahead(samples)), folder / "instrumented.onnx")
    calibrating = count / (time.perf_counter() - start)
    calibration_mb = peak_mb()
    blocks = partition(model, minimum=1)
    rewriter = Rewriter(model, blocks, histograms.ranges("percentile", 99.99), base="fp32")
    names = {"fp32": "reference.onnx", "int8": "candidate.onnx"}
    for name, file in names.items():
        rewriter.write(Assignment(choices=tuple((b.name, name) for b in blocks)), folder / file)
    setup = Setup(
        backend=BackendSection(),
        pipeline=PipelineSection(),
        samples=section,
        quality=QualitySection(),
        timing=TimingSection(),
        shapes=shapes,
        reference_path=str(folder / names["fp32"]),
        reference_digest="",
    )
    start = time.perf_counter()
    bench = Workbench(setup)
    reference = count / (time.perf_counter() - start)
    candidate = backend.build(folder / names["int8"])
    candidate_alone = alone(candidate, dict(samples[0].inputs))
    start = time.perf_counter()
    quality = bench.score(Score(setup=setup, candidate_path=str(folder / names["int8"]), samples=count))
    scoring = count / (time.perf_counter() - start)
    after = alone(engine, dict(samples[0].inputs))
    plain = (before + after) / 2
    return {
        "images": quality.samples,
        "peak_mb_calibration": round(calibration_mb),
        "peak_mb": round(peak_mb()),
        "engine_per_second": round(plain, 1),
        "calibration_rate": round(calibrating / plain, 3),
        "reference_rate": round(reference / plain, 3),
        "scoring_rate": round(scoring / candidate_alone, 3),
    }


def main() -> None:
    """Run every size in its own process and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100,10000")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    options = parser.parse_args()
    if options.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(Path(folder), options.one, options.width)))
        return
    rows = []
    for size in map(int, options.sizes.split(",")):
        command = [sys.executable, __file__, "--one", str(size), "--width", str(options.width)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    growth = rows[-1]["peak_mb"] - rows[0]["peak_mb"]
    result = {"machine": platform.processor(), "cores": os.cpu_count(), "growth_mb": growth, "rows": rows}
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"stream_{datetime.date.today()}"
    target.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    keys = list(rows[0])
    table = [f"| {' | '.join(keys)} |", f"|{'---|' * len(keys)}"]
    table += [f"| {' | '.join(str(row[key]) for key in keys)} |" for row in rows]
    text = (
        f"# Streaming, {datetime.date.today()}\n\nPeak resident memory grows by {growth} MB (limit: "
        f"{LIMIT_MB}). "
        f"Rates are of wall time over the engine alone (wanted: {RATE}).\n\n" + "\n".join(table) + "\n"
    )
    target.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
