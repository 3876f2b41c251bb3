"""Small graphs with channels whose sizes differ by decades, calibrated; what the tool-box is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from autoprec.backends import create_backend
from autoprec.calibration import calibrate
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.statistics.ranges import Histograms
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.records import Assignment, Block

Array = NDArray[np.float32]

MBCONV = """
<ir_version: 10, opset_import: ["" : 22]>
mbconv (float[1,8,12,12] image) => (float[1,8,12,12] masks) {
  a = Conv <pads = [0,0,0,0]> (image, expand, expand_bias)
  b = HardSwish (a)
  c = Conv <group = 32, pads = [1,1,1,1]> (b, depth, depth_bias)
  d = Relu (c)
  e = Conv (d, project)
  masks = Add (image, e)
}
"""
"""Expand, hard-swish, depthwise, ReLU, project, and the residual Add."""


def write_mbconv(path: Path, seed: int = 0) -> Path:
    """The graph above with weights; hidden channels have log-normal gains, the projection takes them back."""
    random = np.random.default_rng(seed)
    gains = np.exp(1.5 * random.standard_normal(32))
    weights = {
        "expand": random.standard_normal((32, 8, 1, 1)) * gains[:, None, None, None] / 3,
        "expand_bias": random.standard_normal(32) * gains,
        "depth": random.standard_normal((32, 1, 3, 3)) / 3,
        "depth_bias": random.standard_normal(32) * gains,
        "project": random.standard_normal((8, 32, 1, 1)) / gains[None, :, None, None] / 6,
    }
    model = onnx.parser.parse_model(MBCONV)
    model.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()
    )
    onnx.save(model, path)
    return path


def images(count: int, seed: int = 1) -> list[dict[str, Array]]:
    """Feeds of the graph."""
    random = np.random.default_rng(seed)
    return [{"image": random.standard_normal((1, 8, 12, 12)).astype(np.float32)} for _ in range(count)]


def calibrated(model: ir.Model, feeds: list[dict[str, Array]], folder: Path) -> Histograms:
    """Statistics of a model over feeds."""
    return calibrate(model, create_backend("openvino", {}), feeds, folder / "instrumented.onnx")


def toolbox(path: Path) -> tuple[ir.Model, tuple[Block, ...], Toolbox]:
    """Model, its one block, and the tool-box of a file."""
    model = load_model(path)
    blocks = partition(model, minimum=1, maximum=1)
    histograms = calibrated(model, images(8), path.parent)
    return model, blocks, Toolbox(model, blocks, histograms, method="percentile", percentile=99.99)


def uniform(blocks: tuple[Block, ...], precision: str) -> Assignment:
    """Every block in one precision."""
    return Assignment(choices=tuple((block.name, precision) for block in blocks))


def outputs(model: ir.Model, feeds: list[dict[str, Array]]) -> Array:
    """The first output for each feed, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.stack([session.run(None, feed)[0] for feed in feeds])


def error(actual: Array, wanted: Array) -> float:
    """Root mean square error over the root mean square of what is wanted."""
    return float(np.sqrt(np.square(actual - wanted).mean() / np.square(wanted).mean()))
