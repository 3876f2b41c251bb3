"""What variants change is kept between candidates only as long as there is room."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.statistics.ranges import Histograms
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.precisions import PRECISIONS


def toolbox(folder: Path) -> tuple[Toolbox, str]:
    """Of one product whose weights take 16 KB, and its block's name."""
    weight = numpy_helper.from_array(
        np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32), "w"
    )
    ends = [helper.make_tensor_value_info(name, 1, [4, 64]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.save(proto, folder / "model.onnx")
    model = load_model(folder / "model.onnx")
    blocks, histograms = partition(model), Histograms()
    array = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32) * np.geomspace(1, 99, 64)
    histograms.observe("x", array.astype(np.float32))
    histograms.observe_channels("x", array.astype(np.float32), -1)
    return Toolbox(model, blocks, histograms, method="mse", percentile=0.0), blocks[0].name


@pytest.mark.parametrize(("room", "kept"), [(1 << 20, 3), (40_000, 2), (0, 1)])
def test_the_variants_used_last_are_kept(
    room: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprec.graph.variants.toolbox.KEPT_BYTES", room)
    box, block = toolbox(tmp_path)
    held = []
    for name in ("int8+smooth", "int8+minmax+smooth", "int8+entropy+smooth"):
        edits = box.edits(block, PRECISIONS[name])
        assert edits is not None
        held += [weakref.ref(tensor.numpy()) for tensor in edits.constants.values()]
        del edits
    assert [reference() is not None for reference in held] == [n >= 3 - kept for n in range(3)]


def test_a_variant_that_is_made_again_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoprec.graph.variants.toolbox.KEPT_BYTES", 0)
    box, block = toolbox(tmp_path)
    first = box.edits(block, PRECISIONS["int8+smooth"])
    box.edits(block, PRECISIONS["int8+mse+smooth"])
    again = box.edits(block, PRECISIONS["int8+smooth"])
    assert first is not None
    assert again is not None
    assert first.ranges == again.ranges
    for key, tensor in first.constants.items():
        np.testing.assert_array_equal(tensor.numpy(), again.constants[key].numpy())
