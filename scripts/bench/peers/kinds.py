"""What it would pay to quantise further kinds of op: uniform INT8, with Q/DQ before one kind more at a time.

    python scripts/bench/peers/kinds.py studies/demo.toml build/bench_peers/ppocr_v6_det/ppocr_v6_det.toml

Each model is made here, from the uniform INT8 candidate, and measured by the peers' judge, in turn with the
study's reference. "Concat" gives each group that goes into one a range of its own; "weights with zero points"
has those of convolutions on all 256 numbers. Writes `kinds_DATE.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnx
from judge import Judge, Point
from onnx import helper, numpy_helper

from autoprec.precisions import PRECISIONS
from autoprec.spec import load_spec
from autoprec.study.events import Quiet
from autoprec.study.session import Parallel, session

ROOT = Path(__file__).resolve().parents[3]
KINDS: Mapping[str, frozenset[str]] = {
    "Resize": frozenset({"Resize"}),
    "pooling": frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"}),
    "Mul": frozenset({"Mul"}),
    "every Add": frozenset({"Add"}),
    "Concat": frozenset({"Concat"}),
}


def main() -> None:
    """Measure every kind on every study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=Path, help="definitions")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench_kinds")
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    results: dict[str, dict[str, Point]] = {}
    for study in given.studies:
        results[study.stem] = measured(study, given.work)
        write(results, given.out)


def measured(study: Path, work: Path) -> dict[str, Point]:
    """Speed-up and loss of each form."""
    spec, points = load_spec(study), dict[str, Point]()
    search = msgspec.structs.replace(spec.search, precisions=("fp32", "int8"))
    spec = msgspec.structs.replace(spec, folder=str(work / spec.name), search=search, default=False)
    with session(spec, Quiet(), Parallel(), checks=False) as opened:
        judge, path = Judge(opened.prepared.setup), work / spec.name / "judged.onnx"
        uniform = next(a for label, a in opened.prepared.anchors if label == "all-int8")
        candidate = Path(opened.prepared.rewrite(uniform, work / spec.name / "int8.onnx").model_path)
        rewriter = opened.prepared.rewriter
        limits = {**rewriter.largest, **rewriter.ranges_in(PRECISIONS["int8"])}
        forms = {"int8": onnx.load(candidate)}
        forms |= {f"and {kind}": more(onnx.load(candidate), ops, limits) for kind, ops in KINDS.items()}
        forms["weights with zero points"] = asymmetric(onnx.load(candidate))
        for label, model in forms.items():
            onnx.save(model, path)
            pairs = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
            points[label] = judge.point(path) | {"pairs": pairs}
            print(study.stem, label, points[label], flush=True)
    return points


def more(model: onnx.ModelProto, ops: frozenset[str], limits: Mapping[str, float]) -> onnx.ModelProto:
    """Signed Q/DQ before the activations of ops of some kinds, where they have a range and no pair yet."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    nodes, pairs = list[onnx.NodeProto](), dict[str, str]()
    for node in model.graph.node:
        places = range(1 if node.op_type == "Resize" else len(node.input)) if node.op_type in ops else ()
        for place in places:
            name = node.input[place]
            if not limits.get(name, 0.0) > 0 or makers.get(name, "DequantizeLinear") == "DequantizeLinear":
                continue
            if name not in pairs:
                pairs[name] = f"{name}__more"
                nodes += pair(model, name, limits[name] / 127)
            node.input[place] = pairs[name]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def pair(model: onnx.ModelProto, name: str, scale: float) -> list[onnx.NodeProto]:
    """Q/DQ of a value."""
    constants = [f"{name}__more_{part}" for part in ("scale", "zero")]
    values = (np.float32(scale), np.int8(0))
    for constant, value in zip(constants, values, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), constant))
    return [
        helper.make_node("QuantizeLinear", [name, *constants], [f"{name}__more_q"]),
        helper.make_node("DequantizeLinear", [f"{name}__more_q", *constants], [f"{name}__more"]),
    ]


def asymmetric(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights of convolutions on all 256 numbers between the extremes of each channel."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        weights, scales = (numpy_helper.to_array(constants[name]) for name in node.input[:2])
        if weights.ndim != 4 or scales.ndim != 1 or next(iter(node.attribute)).i:
            continue
        floats = weights * scales.reshape(-1, 1, 1, 1)
        low, high = (np.minimum(floats.min((1, 2, 3)), 0), np.maximum(floats.max((1, 2, 3)), 0))
        steps = np.maximum((high - low) / 255, 1e-12).astype(np.float32)
        zeros = np.rint(-low / steps) - 128
        whole = np.rint(floats / steps.reshape(-1, 1, 1, 1)) + zeros.reshape(-1, 1, 1, 1)
        node.input[:] = [f"{name}__asymmetric" for name in node.input]
        values = (np.clip(whole, -128, 127).astype(np.int8), steps, zeros.astype(np.int8))
        for name, array in zip(node.input, values, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def write(results: dict[str, dict[str, Point]], out: Path) -> None:
    """Speed-up / loss, a column for each study."""
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"kinds_{datetime.datetime.now(datetime.UTC).date()}"
    target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    title = "# What it would pay to quantise further kinds of op"
    note = "Uniform INT8 and what is added to it: speed-up over the reference / mask loss (pairs of Q/DQ)."
    lines = [title, "", note, "", "| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for label in dict.fromkeys(label for points in results.values() for label in points):
        cells = [told(points[label]) for points in results.values()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    target.with_suffix(".md").write_text("\n".join(lines) + "\n")


def told(point: Point) -> str:
    """One cell."""
    if "failure" in point:
        return "fails"
    return f"{point['speedup']:.2f} / {point['loss']:.4f} ({point['pairs']})"


if __name__ == "__main__":
    main()
