"""Your own model, samples and metric: semantic segmentation or matting, instead of SAM.

    python scripts/examples/own_model.py segmentation
    python scripts/examples/own_model.py matting

Writes a small ONNX model and a study definition, searches it, and prints the front. What to copy from here:

- `calibration` and `evaluation` return samples: any iterable of arrays by name. The definition names them
  `own_model:calibration`.
- `edge_score` compares two stacks of masks; the definition names it `own_model:edge_score`.
- The definition itself (`DEFINITION`).

The network is a stand-in for yours: random convolutions, and a last layer fitted by least squares.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
from numpy.typing import NDArray
from onnx import numpy_helper

from autoprec import Study

ROOT = Path(__file__).resolve().parents[2]
SIZE, CLASSES = 128, 4
Array = NDArray[np.float32]

NETWORK = f"""
<ir_version: 10, opset_import: ["" : 22]>
net (float[1,3,{SIZE},{SIZE}] image) => (float[1,CLASSES,{SIZE},{SIZE}] masks) {{
  s = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (image, w_stem, b_stem)
  stem = Relu (s)
  a0 = Conv <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (stem, w_a, b_a)
  a = Relu (a0)
  a1 = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (a, w_a1, b_a1)
  a2 = Relu (a1)
  half = Add (a, a2)
  c0 = Conv <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (half, w_b, b_b)
  c = Relu (c0)
  c1 = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (c, w_b1, b_b1)
  c2 = Relu (c1)
  quarter = Add (c, c2)
  up_half = Resize <mode = "linear"> (half, , two)
  up_quarter = Resize <mode = "linear"> (quarter, , four)
  features = Concat <axis = 1> (stem, up_half, up_quarter)
  masks = Conv <kernel_shape = [1,1]> (features, w_head, b_head)
}}
"""
WIDTHS = {"stem": (3, 24), "a": (24, 48), "a1": (48, 48), "b": (48, 96), "b1": (96, 96)}

DEFINITION = """
[model]
path = "model.onnx"

[pipeline]
output = "masks"

[samples]
calibration = "own_model:calibration"
evaluation = "own_model:evaluation"

[quality]
metric = "{metric}"

[search]
precisions = ["fp32", "bf16", "int8"]
reference = "fp32"
"""
METRICS = {"segmentation": "argmax_iou", "matting": "own_model:edge_score"}


def calibration() -> list[dict[str, Array]]:
    """Samples as a list, which is read in any order."""
    return [{"image": image} for image, _ in scenes(range(32))]


def evaluation() -> Iterator[dict[str, Array]]:
    """Samples from a generator, which is read in order, in constant memory."""
    for image, _ in scenes(range(1000, 1024)):
        yield {"image": image}


def edge_score(reference: Array, candidate: Array) -> Array:
    """1 - mean difference of opacities at the reference's soft edges, (masks,) of logits [masks, h, w]."""
    first, second = (1 / (1 + np.exp(-np.clip(logits, -30, 30))) for logits in (reference, candidate))
    edge = (first > 0.05) & (first < 0.95)
    wrong = (np.abs(first - second) * edge).sum(axis=(1, 2)) / np.maximum(edge.sum(axis=(1, 2)), 1)
    score: Array = (1 - wrong).astype(np.float32)
    return score


def scenes(seeds: range) -> Iterator[tuple[Array, NDArray[np.int64]]]:
    """Images float32 [1, 3, SIZE, SIZE] and classes [SIZE, SIZE]: discs, boxes and stripes, with noise."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for seed in seeds:
        random = np.random.default_rng(seed)
        labels = np.zeros((SIZE, SIZE), np.int64)
        image = random.uniform(-1, 1, (3, 1, 1)) + random.uniform(-0.5, 0.5, (3, 1, 1)) * rows / SIZE
        for kind in random.permutation([1, 1, 2, 2, 3]):
            y, x, size = random.uniform((20, 20, 10), (SIZE - 20, SIZE - 20, 30))
            inside = {
                1: np.hypot(rows - y, columns - x) < size,
                2: np.maximum(abs(rows - y), abs(columns - x)) < size,
                3: (abs(rows - y) < size) & ((rows + columns) % 8 < 4),
            }[int(kind)]
            labels[inside] = kind
            image = np.where(inside, random.uniform(-1.5, 1.5, (3, 1, 1)) + 0.6 * (kind - 2), image)
        yield (image + 0.1 * random.standard_normal(image.shape)).astype(np.float32)[None], labels


def write_model(path: Path, task: str) -> None:
    """Write random convolutions with a head fitted by ridge regression on their features."""
    random, classes = np.random.default_rng(0), CLASSES if task == "segmentation" else 1
    model = onnx.parser.parse_model(NETWORK.replace("CLASSES", str(classes)))
    arrays: dict[str, NDArray[Any]] = {
        "two": np.array([1, 1, 2, 2], np.float32),
        "four": np.array([1, 1, 4, 4], np.float32),
    }
    for name, (before, after) in WIDTHS.items():
        arrays[f"w_{name}"] = random.standard_normal((after, before, 3, 3)) * np.sqrt(2 / (9 * before))
        arrays[f"b_{name}"] = 0.1 * random.standard_normal(after)
    count = sum(WIDTHS[name][1] for name in ("stem", "a", "b"))
    arrays |= {"w_head": np.zeros((classes, count, 1, 1)), "b_head": np.zeros(classes)}
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    weights, bias = _fitted(model, classes)
    for tensor in model.graph.initializer:
        if tensor.name in ("w_head", "b_head"):
            array = weights[:, :, None, None] if tensor.name == "w_head" else bias
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _fitted(model: onnx.ModelProto, classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights [classes, channels] and bias of the head: targets are logits of 4 and -4."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(onnx.helper.make_tensor_value_info("features", 1, None))
    engine = openvino.Core().compile_model(openvino.Core().read_model(probe.SerializeToString()), "CPU")
    random, xs, ys = np.random.default_rng(1), [], []
    for image, labels in scenes(range(100, 140)):
        features = engine([image])[1][0].reshape(-1, SIZE * SIZE).T
        picked = random.choice(SIZE * SIZE, 1000, replace=False)
        wanted = (labels.reshape(-1, 1) == np.arange(CLASSES)) if classes > 1 else labels.reshape(-1, 1) > 0
        xs.append(features[picked])
        ys.append(np.where(wanted[picked], 4.0, -4.0))
    x = np.concatenate(xs).astype(np.float64)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    weights = np.linalg.solve(x.T @ x + 1e-2 * np.eye(x.shape[1]), x.T @ np.concatenate(ys))
    return weights[:-1].T, weights[-1]


def main() -> None:
    """Write, search, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=tuple(METRICS))
    parser.add_argument("--budget", default="12")
    parser.add_argument("--folder", type=Path, default=None, help="default: build/example_TASK")
    options = parser.parse_args()
    folder = options.folder or ROOT / "build" / f"example_{options.task}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.onnx").exists():
        write_model(folder / "model.onnx", options.task)
    definition = folder / f"{options.task}.toml"
    definition.write_text(DEFINITION.format(metric=METRICS[options.task]))
    # Engines run in worker processes, which find this module by the same path.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")]
    )
    for point in Study.load(definition).search(options.budget):
        print(f"trial {point.number}: {point.latency_ms:.2f} ms, loss {point.loss:.4f}")


if __name__ == "__main__":
    main()
