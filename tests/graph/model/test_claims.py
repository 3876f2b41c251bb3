"""A small file that asks for any amount of memory or time is loaded without it, or refused in one line."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from autoprec.errors import ModelError
from autoprec.graph.model.load import load_model

HUGE = 1 << 33


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """No more than 2 GiB beyond what the tests have already."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (2 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def saved(path: Path, nodes: Sequence[onnx.NodeProto], **constants: object) -> Path:
    """A model of a convolution to which the largest element of `big` is added."""
    weight = numpy_helper.from_array(np.ones((1, 3, 3, 3), np.float32), "weight")
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "weight"], ["y"]),
            *nodes,
            helper.make_node("Cast", ["big"], ["floats"], to=1),
            helper.make_node("ReduceMax", ["floats"], ["most"], keepdims=0),
            helper.make_node("Add", ["y", "most"], ["out"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("out", 1, None)],
        [weight, *tensors],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def doubled(first: str, *, count: int = 60) -> list[onnx.NodeProto]:
    """Concats in a row, each of which doubles what it reads."""
    names = [first, *(f"c{number}" for number in range(count - 1)), "big"]
    return [helper.make_node("Concat", [name, name], [after], axis=0) for name, after in pairwise(names)]


COMPUTED = [
    helper.make_node("Shape", ["x"], ["sizes"]),
    helper.make_node("Mul", ["sizes", "factors"], ["more"]),
    helper.make_node("Slice", ["more", "two", "three"], ["length"]),
    helper.make_node("ConstantOfShape", ["length"], ["many"]),
    helper.make_node("Cast", ["many"], ["big"], to=7),
]
"""A size that only data propagation finds."""


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        (doubled("start"), {"start": np.ones(2, np.float32)}),
        (doubled("start"), {"start": np.ones(2, np.int64)}),
        ([helper.make_node("Shape", ["x"], ["sizes"]), *doubled("sizes")], {}),
        ([helper.make_node("Range", ["a", "b", "a1"], ["big"])], {"a": 0, "b": HUGE, "a1": 1}),
        ([helper.make_node("ConstantOfShape", ["n"], ["big"])], {"n": np.array([HUGE])}),
        ([helper.make_node("Expand", ["one", "n"], ["big"])], {"one": np.ones(1), "n": np.array([HUGE])}),
        ([helper.make_node("Tile", ["one", "n"], ["big"])], {"one": np.ones(1), "n": np.array([HUGE])}),
        ([helper.make_node("Pad", ["one", "n"], ["big"])], {"one": np.ones(1), "n": np.array([0, HUGE])}),
        (COMPUTED, {"factors": np.array([1, 1, HUGE, 1]), "two": np.array([2]), "three": np.array([3])}),
    ],
)  # fmt: skip
def test_a_small_file_claims_no_memory(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, object], tmp_path: Path
) -> None:
    assert len(load_model(saved(tmp_path / "model.onnx", nodes, **constants)).graph) > 4


def test_functions_that_call_one_another_twice_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", [helper.make_node("f39", ["x"], ["big"], domain="d")])
    model, opsets = onnx.load(path), [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
    for number in range(40):
        of = {"op_type": f"f{number - 1}", "domain": "d"} if number else {"op_type": "Relu"}
        body = [
            helper.make_node(**of, inputs=["x"], outputs=["m"]),
            helper.make_node(**of, inputs=["m"], outputs=["y"]),
        ]
        model.functions.append(helper.make_function("d", f"f{number}", ["x"], ["y"], body, opsets))
    model.opset_import.append(opsets[1])
    onnx.save(model, path)
    with pytest.raises(ModelError, match="more than 100000 nodes when they are written out"):
        load_model(path)


def test_a_constant_that_every_node_reads_twice_is_not_computed_twice_as_often_each_time(
    tmp_path: Path,
) -> None:
    names = ["start", *(f"c{number}" for number in range(59)), "big"]
    nodes = [
        node
        for name, after in pairwise(names)
        for node in (
            helper.make_node("Neg", [name], [f"{after}/less"]),
            helper.make_node("Add", [name, f"{after}/less"], [after]),
        )
    ]
    model = load_model(saved(tmp_path / "model.onnx", nodes, start=np.ones((300, 300), np.float32)))
    assert all(
        value.const_value.numpy().size for value in model.graph.initializers.values() if value.const_value
    )
