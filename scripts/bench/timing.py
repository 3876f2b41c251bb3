"""How well does a ratio of latencies repeat? `scripts/bench/timing.py` times a model against itself.

Two separately compiled engines of one model have the ratio 1, so every deviation is an error of the
method. Each repeat compiles all anew and measures in five ways with the product's settings, for the same
number of seconds each: in turn with one build (what a search does) or with three, or block after block; by
processor time or by wall time. All of it is done twice: with the machine as it is, and beside as many busy
processes as there are cores. Writes JSON and a table to `studies/results/`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends import Engine
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.backends.timing import STOPWATCHES, Deadline, elapsed, pair
from autoprec.spec import TimingSection

ROOT = Path(__file__).parents[2]
TIMING, BUILDS = TimingSection(), 3
METHODS = {
    f"in turn, {BUILDS} builds, processor time": ("processor", BUILDS),
    "in turn, 1 build, processor time": ("processor", 1),
    f"in turn, {BUILDS} builds, wall time": ("host", BUILDS),
    "block after block, processor time": ("processor", 0),
    "block after block, wall time": ("host", 0),
}
"""Each method's stopwatch, and how many builds take turns; 0 times one engine after the other."""
BUSY = "import numpy; a = numpy.ones((400, 400))\nwhile True: a @ a"


def convolutions(path: Path, channels: int = 64, size: int = 64, layers: int = 8) -> Path:
    """Write a model of plain convolutions, 10 to 30 ms on one core of a server; returns its path.

    Args:
        path: of the file.
        channels: of every layer.
        size: height and width of the image [1, 3, size, size].
        layers: number of convolutions.
    """
    random = np.random.default_rng(0)
    nodes, weights = [], []
    for layer in range(layers):
        shape = (channels, channels if layer else 3, 3, 3)
        values = random.standard_normal(shape, np.float32) * 0.05
        weights.append(numpy_helper.from_array(values, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [f"v{layer}", f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"v{layer + 1}"]))
    image = helper.make_tensor_value_info("v0", TensorProto.FLOAT, [1, 3, size, size])
    output = helper.make_tensor_value_info(f"v{layers}", TensorProto.FLOAT, [1, channels, size, size])
    graph = helper.make_graph(nodes, "convolutions", [image], [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def feeds(model: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Normal noise for every input."""
    random = np.random.default_rng(0)
    graph = onnx.load(model, load_external_data=False).graph
    sizes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.input}
    return {name: random.standard_normal(shape, np.float32) for name, shape in sizes.items()}


def in_turn(builds: Sequence[tuple[Engine, Engine]], stopwatch: str, seconds: float) -> dict[str, float]:
    """Time as a search does."""
    backend = OpenVinoBackend({})
    backend.stopwatch = stopwatch  # type: ignore[assignment]
    latency = pair(
        *builds[0],
        backend,
        replace(TIMING, seconds=seconds),
        others=builds[1:],
    )
    low, high = latency.ratio_interval.low, latency.ratio_interval.high
    return {"ratio": latency.ratio, "rounds": latency.rounds, "low": low, "high": high}


def block_after_block(
    reference: Engine, candidate: Engine, stopwatch: str, seconds: float
) -> dict[str, float]:
    """Time as a plain benchmark does: the median of one engine, then the median of the other.

    Args:
        reference: the engine timed first.
        candidate: the engine timed after it.
        stopwatch: a key of `STOPWATCHES`.
        seconds: for both together.
    """
    medians, rounds = [], 0
    for engine in (reference, candidate):
        for _ in range(5):
            engine.execute()
        deadline = Deadline(seconds / 2)
        times: list[float] = []
        while not deadline.is_over or len(times) < 20:
            times.append(STOPWATCHES[stopwatch](engine, 1))
        medians.append(float(np.median(times)))
        rounds += len(times)
    return {"ratio": medians[1] / medians[0], "rounds": rounds // 2, "reference_ms": medians[0]}


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Run `count` processes that multiply matrices without a pause."""
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    busy = [subprocess.Popen([sys.executable, "-c", BUSY], env=alone) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measure(model: Path, repeats: int, seconds: float) -> dict[str, list[dict[str, float]]]:
    """All methods, interleaved, `repeats` times."""
    backend, arrays = OpenVinoBackend({}), feeds(model)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    for _ in range(repeats):
        with ExitStack() as stack:
            # Built anew for each repeat: two builds of one model differ permanently, which is part of the
            # error.
            engines = [stack.enter_context(backend.build(model)) for _ in range(2 * BUILDS)]
            for engine in engines:
                engine.prepare(arrays)
            builds = list(zip(engines[::2], engines[1::2], strict=True))
            for name, (stopwatch, count) in METHODS.items():
                with elapsed() as spent:
                    result = (
                        in_turn(builds[:count], stopwatch, seconds)
                        if count
                        else block_after_block(*builds[0], stopwatch, seconds)
                    )
                results[name].append({**result, "seconds": spent.seconds})
    return results


def row(scene: str, method: str, results: list[dict[str, float]]) -> dict[str, Any]:
    """One line of the table."""
    errors = np.abs([result["ratio"] - 1 for result in results])
    line = {
        "machine": scene,
        "method": method,
        "within_1_percent": float(np.mean(errors <= 0.01)),
        "median_error": float(np.median(errors)),
        "p95_error": float(np.percentile(errors, 95)),
        "largest_error": float(errors.max()),
        "median_rounds": float(np.median([result["rounds"] for result in results])),
        "median_seconds": float(np.median([result["seconds"] for result in results])),
    }
    if "low" in results[0]:
        line["covered"] = float(np.mean([result["low"] <= 1 <= result["high"] for result in results]))
        line["median_width"] = float(np.median([result["high"] - result["low"] for result in results]))
    return line


def table(facts: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    """The report in Markdown."""
    heads = (
        "machine",
        "method",
        "within 1 %",
        "median error",
        "95th percentile",
        "largest",
        "rounds",
        "seconds",
        "holds 1",
        "width",
    )
    rows = [
        (
            line["machine"],
            line["method"],
            f"{line['within_1_percent']:.0%}",
            f"{line['median_error']:.2%}",
            f"{line['p95_error']:.2%}",
            f"{line['largest_error']:.2%}",
            f"{line['median_rounds']:.0f}",
            f"{line['median_seconds']:.1f}",
            f"{line['covered']:.0%}" if "covered" in line else "",
            f"{line['median_width']:.2%}" if "covered" in line else "",
        )
        for line in lines
    ]
    title = (
        f"# A model timed against itself\n\n{facts['date']}, {facts['cpu']} ({facts['cores']} cores), "
        f"OpenVINO {facts['openvino']}, 1 thread, model {facts['model']} ({facts['reference_ms']:.1f} ms); "
        f"{facts['repeats']} repeats of {facts['seconds']:g} s each (in turn, sooner if the interval without "
        f"the builds' share is {TIMING.interval:.0%} wide, and later if {TIMING.minimum_rounds} rounds take "
        f"longer); load average before: {facts['load_average']:.1f}. The true ratio is 1; `holds 1` is how "
        "often the 95 % interval holds it, `width` how wide that is. Made by `scripts/bench/timing.py`.\n"
    )
    grid = "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))
    return f"{title}\n{grid}\n"


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=TIMING.seconds, help="of each measurement")
    parser.add_argument("--model", type=Path, default=ROOT / "studies/models/demo_encoder.onnx")
    parser.add_argument("--results", type=Path, default=ROOT / "studies/results")
    arguments = parser.parse_args()
    cores, load = psutil.cpu_count() or 1, psutil.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        own = not arguments.model.exists()
        model = convolutions(Path(folder) / "convolutions.onnx") if own else arguments.model
        scenes = {"as it is": measure(model, arguments.repeats, arguments.seconds)}
        with neighbours(cores):
            scenes[f"beside {cores} busy processes"] = measure(model, arguments.repeats, arguments.seconds)
    lines = [row(scene, name, each) for scene, results in scenes.items() for name, each in results.items()]
    fingerprint = OpenVinoBackend({}).fingerprint()
    quiet = scenes["as it is"]["block after block, processor time"]
    facts = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": fingerprint.device,
        "cores": cores,
        "openvino": fingerprint.version,
        "model": model.name,
        "reference_ms": float(np.median([result["reference_ms"] for result in quiet])),
        "repeats": arguments.repeats,
        "seconds": arguments.seconds,
        "load_average": load,
    }
    report = table(facts, lines)
    print(report)
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"timing_{facts['date']}"
    path.with_suffix(".json").write_text(
        json.dumps({**facts, "table": lines, "repeats_of": scenes}, indent=1)
    )
    path.with_suffix(".md").write_text(report)


if __name__ == "__main__":
    main()
