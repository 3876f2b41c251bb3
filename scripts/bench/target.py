"""Is an engine on a target timed like the same engine in this process? Measures both ways in turn.

    python scripts/bench/target.py studies/models/demo_encoder.onnx --backend openvino
    python scripts/bench/target.py encoder.onnx --backend tensorrt          # on a machine with a GPU
    python scripts/bench/target.py encoder.onnx --target ssh://user@host --python /usr/bin/python3.8

A model in BF16 is paired with itself in FP32 (`--candidate fp16` for FP16), by the usual backend and by an
agent in turn, several times. Writes both ratios, how far they are apart, and how far outputs are, to
`studies/results/target_BACKEND_DATE.md`.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx.helper import tensor_dtype_to_np_dtype

from autoprec.backends import Arrays, Backend, create_backend, run
from autoprec.backends.timing import pair
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import input_shapes, load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment, Latency
from autoprec.spec import TimingSection

ROOT = Path(__file__).resolve().parents[2]


def typed(model_path: Path, folder: Path, precision: str) -> Path:
    """Write the model with every block in one float precision."""
    model = load_model(model_path)
    blocks = partition(model)
    rewriter = Rewriter(model, blocks, {}, base="fp32")
    path = folder / f"{precision}.onnx"
    write_model(rewriter.rewrite(Assignment(choices=tuple((b.name, precision) for b in blocks))), path)
    return path


def timed(backend: Backend, reference: Path, candidate: Path, feeds: Arrays, seconds: float) -> Latency:
    """Build two models and time them in turn.

    Args:
        backend: builds and runs both, here or on a target.
        reference: path of the reference model.
        candidate: path of the model timed against it.
        feeds: inputs by name.
        seconds: how long to time.
    """
    with backend.build(reference) as theirs, backend.build(candidate) as ours:
        for engine in (theirs, ours):
            engine.prepare(feeds)
        return pair(
            theirs,
            ours,
            backend,
            TimingSection(interval=0.002, seconds=seconds, minimum_rounds=40, warmup=10),
        )


def largest_difference(one: Backend, other: Backend, path: Path, feeds: Arrays) -> float:
    """The largest difference of outputs between two backends, relative to each output's largest magnitude.

    Args:
        one: the backend whose outputs are the reference.
        other: the backend compared with it.
        path: of the model.
        feeds: inputs by name.
    """
    with one.build(path) as here, other.build(path) as there:
        ours, theirs = run(here, feeds), run(there, feeds)
    return max(float(np.abs(ours[n] - theirs[n]).max() / np.abs(ours[n]).max()) for n in ours)


def page(
    arguments: argparse.Namespace, rows: Sequence[tuple[Latency, Latency]], difference: float, device: str
) -> str:
    """The results as Markdown.

    Args:
        arguments: of the command line.
        rows: pairs of the latency here and on the target.
        difference: of outputs, as from `largest_difference`.
        device: name of the target's device.
    """
    apart = [there.ratio / here.ratio - 1 for here, there in rows]
    today, far = datetime.date.today().isoformat(), np.abs(apart)
    command = f"python scripts/bench/target.py {arguments.model.name} --backend {arguments.backend}"
    where = f"{arguments.target.split('@')[0]}, {device}, Python {platform.python_version()} here"
    lines = [
        f"# An engine on a target against the same engine here, {today}",
        "",
        f"`{command}`: {where}.",
        "",
        f"{arguments.candidate} over fp32, as ratios. Outputs differ by {difference:.1e} of the largest.",
        f"The ratios are apart by {np.median(far):.2%} in the median, {far.max():.2%} at most.",
        "",
        "| here | on the target | apart | ms here | ms there |",
        "|---|---|---|---|---|",
    ]
    for (here, there), distance in zip(rows, apart, strict=True):
        latencies = f"{here.median_ms:.3f} | {there.median_ms:.3f}"
        lines.append(f"| {here.ratio:.4f} | {there.ratio:.4f} | {distance:+.2%} | {latencies} |")
    lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Build, time in turn, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--target", default="local:")
    parser.add_argument("--python", default="")
    parser.add_argument("--candidate", default="bf16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--output", type=Path, default=ROOT / "studies" / "results")
    arguments = parser.parse_args()
    options = {
        "target": arguments.target,
        **({"target_python": arguments.python} if arguments.python else {}),
    }
    here, there = create_backend(arguments.backend, {}), create_backend(arguments.backend, options)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        reference, candidate = (
            typed(arguments.model, folder, name) for name in ("fp32", arguments.candidate)
        )
        shapes = input_shapes(load_model(arguments.model))
        graph = onnx.load(reference).graph
        types = {v.name: tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in graph.input}
        feeds = {name: random.standard_normal(shape).astype(types[name]) for name, shape in shapes}
        difference = largest_difference(here, there, candidate, feeds)
        rows = [
            (
                timed(here, reference, candidate, feeds, arguments.seconds),
                timed(there, reference, candidate, feeds, arguments.seconds),
            )
            for _ in range(arguments.repeats)
        ]
    print(text := page(arguments, rows, difference, there.fingerprint().device))
    name = f"target_{arguments.backend}_{datetime.date.today().isoformat()}.md"
    (arguments.output / name).write_text(text)


if __name__ == "__main__":
    main()
