"""Time and memory of rewriting candidates: the demo, a generated model of 35 M parameters and 850 nodes, and,
with `--huge`, one of 3.2 GB with external data (it takes 7 GB of disk).

Each model is measured in a process of its own: processor seconds of every uniform assignment and of random
ones (what a candidate takes where nobody else computes), and the peak of resident memory above what Python
and the packages hold, from loading the model on, in units of the model's file. Writes
`studies/results/rewrite_DATE.{json,md}`; a limit that is broken is an exit code of 1.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.legality.judge import judge
from autoprec.precisions import PLAIN
from autoprec.records import Assignment

ROOT = Path(__file__).resolve().parents[2]
SECONDS = {"demo": 0.3, "large": 2.0, "huge": float("inf")}
"""Most processor seconds of one candidate."""
MODELS = {"large": 2.0, "huge": 1.3}
"""Most memory, in multiples of the model's file. Not for the demo, which is smaller than Python's own
objects."""


def large_model(path: Path, blocks: int = 121, width: int = 267) -> Path:
    """Write a model of a stem, 121 residual MBConvs of 7 nodes, and a head."""
    random, nodes, weights = np.random.default_rng(0), list[onnx.NodeProto](), list[onnx.TensorProto]()

    def add(op: str, scope: str, *inputs: str, weight: tuple[int, ...] = (), **attributes: Any) -> str:
        result = f"/{scope}/{op}_{len(nodes)}"
        if weight:
            array = random.standard_normal(weight, np.float32) * np.float32(0.02)
            weights.append(numpy_helper.from_array(array, f"{result}.weight"))
            inputs = (*inputs, f"{result}.weight")
        nodes.append(helper.make_node(op, inputs, [f"{result}_output_0"], result, **attributes))
        return f"{result}_output_0"

    value = add("Conv", "stem", "image", weight=(width, 3, 3, 3), pads=[1] * 4)
    value = add("HardSwish", "stem", value)
    for number in range(blocks):
        scope = f"stages.{number // 12}/blocks.{number % 12}"
        inner = add("Conv", scope, value, weight=(2 * width, width, 1, 1))
        inner = add("HardSwish", scope, inner)
        inner = add("Conv", scope, inner, weight=(2 * width, 1, 3, 3), pads=[1] * 4, group=2 * width)
        inner = add("HardSwish", scope, inner)
        inner = add("Conv", scope, inner, weight=(width, 2 * width, 1, 1))
        inner = add("Mul", scope, inner, weight=(width, 1, 1))
        value = add("Add", scope, value, inner)
    value = add("Conv", "head", value, weight=(256, width, 1, 1))
    image, masks = ("image", (1, 3, 16, 16)), (value, (1, 256, 16, 16))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (image, masks)]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def huge_model(path: Path, layers: int = 48, width: int = 4096) -> Path:
    """Write a chain of MatMuls with 64 MiB of weights each, in a file beside the model."""
    random, nodes, weights, value = np.random.default_rng(0), [], [], "tokens"
    data = path.with_suffix(".data")
    with data.open("wb") as file:
        for number in range(layers):
            name = f"/layers.{number}/MatMul"
            array = random.standard_normal((width, width), np.float32) * np.float32(0.02)
            tensor = onnx.TensorProto(name=f"{name}.weight", data_type=TensorProto.FLOAT, dims=array.shape)
            place = {"location": data.name, "offset": str(file.tell()), "length": str(array.nbytes)}
            for key, text in place.items():
                tensor.external_data.add(key=key, value=text)
            tensor.data_location = TensorProto.EXTERNAL
            # Written piece by piece: making the model must not need the memory that is to be measured.
            file.write(array.tobytes())
            weights.append(tensor)
            nodes.append(helper.make_node("MatMul", [value, tensor.name], [f"{name}_0"], name))
            value = f"{name}_0"
    ends = [helper.make_tensor_value_info(v, TensorProto.FLOAT, (1, 16, width)) for v in ("tokens", value)]
    graph = helper.make_graph(nodes, "huge", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def measure(path: Path, repeats: int) -> dict[str, Any]:
    """Seconds and memory of loading and rewriting, in a process that has done nothing else."""
    size = sum(file.stat().st_size for file in (path, path.with_suffix(".data")) if file.exists())
    # The peak of a process never falls, so each model has a process of its own.
    resident = psutil.Process().memory_info().rss
    start = time.process_time()
    model = load_model(path)
    blocks = judge(partition(model), model, tuple(PLAIN))
    figures: dict[str, Any] = {
        "nodes": len(list(model.graph)),
        "parameters": sum(block.parameters for block in blocks),
        "bytes": size,
        "blocks": len(blocks),
        "load_seconds": time.process_time() - start,
        "load_peak": (_peak_bytes() - resident) / size,
    }
    ranges = {str(v.name): 4.0 for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    rewriter, random = Rewriter(model, blocks, ranges, base="bf16"), np.random.default_rng(0)
    assignments = [(name, Assignment.uniform(blocks, name, "bf16")) for name in PLAIN]
    for _ in range(repeats):
        choices = tuple((block.name, str(random.choice(block.allowed))) for block in blocks)
        assignments.append(("mixed", Assignment(choices=choices)))
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, assignment in assignments:
            start = time.process_time()
            rewriter.write(assignment, Path(folder) / "candidate.onnx")
            seconds.setdefault(name, []).append(time.process_time() - start)
            for file in Path(folder).iterdir():
                file.unlink()
    figures["seconds"] = {name: float(np.median(values)) for name, values in seconds.items()}
    figures["slowest"] = max(max(values) for values in seconds.values())
    figures["peak"] = (_peak_bytes() - resident) / size
    return figures


def _peak_bytes() -> int:
    """Largest resident size of this process so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _apart(path: Path, repeats: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", str(path), "--repeats", str(repeats)]
    figures: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return figures


def table(figures: dict[str, dict[str, Any]], date: str) -> str:
    """Markdown."""
    names = [*PLAIN, "mixed"]
    about = (
        f"{date}, {platform.machine()}, Python {platform.python_version()}. Processor seconds from an "
        "assignment to its file; peak of resident memory from loading on, above the packages' own, in units "
        "of the model's file. Made by `scripts/bench/rewrite.py`."
    )
    lines = [
        f"# Rewriting a candidate\n\n{about}\n",
        f"| model | nodes | parameters | load | {' | '.join(names)} | slowest | allowed | peak | allowed |",
        "|---" * (len(names) + 8) + "|",
    ]
    for name, one in figures.items():
        seconds = " | ".join(f"{one['seconds'][kind]:.2f}" for kind in names)
        lines.append(
            f"| {name} | {one['nodes']} | {one['parameters'] / 1e6:.1f} M | {one['load_seconds']:.2f} s | "
            f"{seconds} | {one['slowest']:.2f} s | {SECONDS[name]} s | {one['peak']:.2f} | "
            f"{MODELS.get(name, '')} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure the models, each in its own process; write and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=12, help="random assignments")
    parser.add_argument("--results", type=Path, default=ROOT / "studies/results")
    parser.add_argument("--huge", action="store_true", help="measure the model of 3.2 GB, too")
    parser.add_argument("--one", type=Path, help="measure this model and print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.repeats)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        large = large_model(Path(folder) / "large.onnx")
        paths = {"demo": ROOT / "studies/models/demo_encoder.onnx", "large": large}
        if options.huge:
            paths["huge"] = huge_model(Path(folder) / "huge.onnx")
        figures = {name: _apart(path, options.repeats) for name, path in paths.items()}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"rewrite_{date}"
    path.with_suffix(".md").write_text(table(figures, date) + "\n", encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(table(figures, date))
    slow = any(one["seconds"]["mixed"] > SECONDS[name] for name, one in figures.items())
    return int(slow or any(figures[name]["peak"] > MODELS[name] for name in figures.keys() & MODELS.keys()))


if __name__ == "__main__":
    sys.exit(main())
