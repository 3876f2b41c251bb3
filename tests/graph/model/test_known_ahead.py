"""Branches, sequences and optionals that are known before a model runs are written out; others are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from autoprec.errors import ModelError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment

TEXT = """<ir_version: 8, opset_import: ["" : 18]> g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
    c = Conv (x, w)
    MIDDLE
}"""
SIDES = """<then_branch = t () => (float[1,4,8,8] a) { n = Neg (c)  a = Relu (n) },
           else_branch = e () => (float[1,4,8,8] b) { n = Abs (c)  b = Sigmoid (n) }>"""
KNOWN = {
    "split": (
        "s = SplitToSequence <axis = 1> (c, halves)  a = SequenceAt (s, one)  b = SequenceAt (s, last)"
        "  y = Concat <axis = 1> (a, b)"
    ),
    "split in ones": (
        "s = SplitToSequence <axis = 1, keepdims = 0> (c)"
        "  y = ConcatFromSequence <axis = 1, new_axis = 1> (s)"
    ),
    "constructed": "n = Neg (x)  s = SequenceConstruct (c, n)  y = SequenceAt (s, one)",
    "behind a padding that is turned": (
        "h = Shape (c)  m = Sub (h, h)  u = Concat <axis = 0> (m, m)  p = Transpose (u)  d = Pad (c, p)"
        "  s = SequenceConstruct (d, c)  y = SequenceAt (s, one)"
    ),
    "grown": (
        "e = SequenceEmpty ()  s = SequenceInsert (e, c)  t = SequenceInsert (s, x)"
        "  u = SequenceErase (t, last)  y = ConcatFromSequence <axis = 1> (u)"
    ),
    "optional": "o = Optional (c)  y = OptionalGetElement (o)",
    "taken": f"k = Constant <value = bool {{1}}> ()  y = If (k) {SIDES}",
    "taken by a size": f"h = Shape (c)  r = Gather (h, one)  k = Equal (r, three)  y = If (k) {SIDES}",
    "taken twice": (
        f"k = Constant <value = bool {{0}}> ()  m = If (k) {SIDES}  j = Constant <value = bool {{1}}> ()"
        f"  p = If (j) {SIDES}  y = Add (m, p)"
    ),
}
UNKNOWN = {
    "If": f"m = ReduceMax <keepdims = 0> (x)  k = Cast <to = 9> (m)  y = If (k) {SIDES}",
    "SequenceAt": (
        "m = ReduceMax <keepdims = 0> (x)  p = Cast <to = 7> (m)  s = SequenceConstruct (c, x)"
        "  y = SequenceAt (s, p)"
    ),
}


def saved(folder: Path, middle: str) -> Path:
    proto = onnx.parser.parse_model(TEXT.replace("MIDDLE", middle))
    arrays = {
        "w": np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32),
        "halves": np.array([1, 3]), "one": np.array(1), "last": np.array(-1), "three": np.array(3),
    }  # fmt: skip
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize("middle", KNOWN)
def test_what_is_known_ahead_is_written_out(middle: str, tmp_path: Path) -> None:
    path = saved(tmp_path, KNOWN[middle])
    model = load_model(path)
    assert not {node.op_type for node in model.graph} & {"If", "Optional", "SequenceConstruct", "SequenceAt"}
    blocks = partition(model, minimum=1, maximum=1)
    chosen = Assignment(choices=((blocks[0].name, "fp32"),))
    Rewriter(model, blocks, {}, base="fp32").write(chosen, tmp_path / "fp32.onnx")
    feed = {"x": np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)}
    wanted, output = (
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for file in (path, tmp_path / "fp32.onnx")
    )
    np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", UNKNOWN)
def test_what_is_known_only_when_it_runs_is_named(op: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"node '.+'.*{op}") as caught:
        load_model(saved(tmp_path, UNKNOWN[op]))
    assert "\n" not in str(caught.value)


def test_what_lies_behind_computed_sizes_has_a_known_cost(tmp_path: Path) -> None:
    """Padded to windows by sizes that are transposed on the way, as PyTorch's exporter writes it."""
    path = saved(
        tmp_path,
        "s = Shape (c)  h = Gather (s, last)  r = Mod (h, three)  p = Sub (three, r)  z = Sub (p, p)"
        "  f = Constant <value_ints = [-1]> ()  u = Reshape (p, f)  v = Reshape (z, f)"
        "  q = Concat <axis = 0> (v, v, v, v, v, v, v, u)  e = Constant <value_ints = [4, 2]> ()"
        "  m = Reshape (q, e)  t = Transpose (m)  k = Reshape (t, f)  a = Pad (c, k)"
        "  b = Transpose <perm = [0, 1, 3, 2]> (a)  d = MatMul (b, a)  y = Slice (d, ones, twos)",
    )
    proto = onnx.load(path)
    arrays = {"ones": np.zeros(2, np.int64), "twos": np.array([1, 4])}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    proto.graph.output[0].type.tensor_type.shape.ClearField("dim")
    onnx.save(proto, path)
    model = load_model(path)
    blocks = partition(model, minimum=1, maximum=4)
    assert sum(block.macs for block in blocks) == 4 * 4 * 8 * 8 + 4 * 9 * 9 * 8
