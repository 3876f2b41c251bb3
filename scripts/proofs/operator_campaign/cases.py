"""Random models of one or a few operators, with the outputs that ONNX Runtime computes for them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from draw import Array, Draw
from onnx import TensorProto, helper
from operators import FIRST_ONLY, MAKERS

OPSETS = range(7, 24)
_IR = {range(7, 9): 3, range(9, 11): 5, range(11, 19): 8, range(19, 23): 10, range(23, 24): 11}
_LAST = frozenset({"HannWindow", "HammingWindow", "BlackmanWindow"})
"""Operators that nothing may follow: the ends of their windows are zero but for rounding, which a later
operator may blow up to anything."""
_BEHIND = ("", "", "Relu", "Sigmoid", "Mul", "Transpose", "Neg")


class Case(NamedTuple):
    """A model, its inputs by name, and the outputs ONNX Runtime computes from them."""

    model: onnx.ModelProto
    feeds: dict[str, Array]
    wanted: dict[str, Array]


@cache
def operators(opset: int) -> tuple[str, ...]:
    """The operators of an opset that the campaign has cases of, sorted."""
    return tuple(name for name in sorted(MAKERS) if _exists(name, opset))


def _exists(name: str, opset: int) -> bool:
    try:
        return not onnx.defs.get_schema(name, opset).deprecated
    except onnx.defs.SchemaError:
        return False


def make_case(seed: int, op: str, opset: int, more: int = 0) -> Case | None:
    """Make the case of a seed; None if ONNX Runtime refuses it or an output is not finite.

    Args:
        seed: the same seed gives the same case.
        op: the first operator.
        opset: of the model.
        more: how many further random operators to try, each fed by the one before.
    """
    draw = Draw(seed, op, opset)
    values = _grown(draw, "")
    for step in range(more if values and op not in _LAST else 0):
        floats = [(n, a.size) for n, a in (values or {}).items() if a.dtype == np.float32 and a.size]
        if not floats:
            break
        before = draw.mark()
        others = [name for name in operators(opset) if name not in FIRST_ONLY]
        draw.then(draw.one(*others), *floats[0])
        further = _grown(draw, f"{step}/")
        # A value still carried was not used: the operator would stand beside the others, not behind them.
        if further is None or draw.carried is not None or not _is_finite(further):
            draw.back(before)
        else:
            values = further
    if values is None:
        return None
    outputs = {name: _finished(draw, name, array) for name, array in values.items()}
    values = computed(_model(draw, list(outputs.values()), {}), draw.feeds)
    if not _is_finite(values):
        return None
    shapes = {name: array.shape for name, array in values.items()}
    return Case(_model(draw, list(outputs.values()), shapes), draw.feeds, values)


def _is_finite(values: dict[str, Array]) -> bool:
    """Whether all values are finite. If not, no operator that follows has a defined result."""
    return all(np.isfinite(array).all() for array in values.values())


def _grown(draw: Draw, prefix: str) -> dict[str, Array] | None:
    """Add one more operator; returns what it computes by name, None if ONNX Runtime refuses it."""
    wanted = MAKERS[draw.op](draw)
    names = [f"{prefix}y{place}" for place in range(wanted.outputs)]
    inputs = list(wanted.inputs)
    if inputs[0] in draw.feeds and draw.feeds[inputs[0]].dtype == np.float32 and draw.chance(0.3):
        draw.nodes.append(helper.make_node("Neg", [inputs[0]], [f"{prefix}before"]))
        inputs[0] = f"{prefix}before"
    name = f"{prefix}the_operator"
    draw.nodes.append(helper.make_node(draw.op, inputs, names, name=name, **wanted.attributes))
    try:
        return computed(_model(draw, names, {}), draw.feeds)
    except Exception:  # noqa: BLE001 - whatever ONNX Runtime raises, the case is none
        return None


def _finished(draw: Draw, name: str, array: Array) -> str:
    """Make a float output of a value, sometimes through one more operator; returns the output's name."""
    if array.dtype != np.float32:
        draw.nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
        name = f"{name}_float"
    op = draw.one(*_BEHIND)
    if not op:
        return name
    inputs = [name, draw.constant(np.float32(0.5))] if op == "Mul" else [name]
    draw.nodes.append(helper.make_node(op, inputs, [f"{name}_{op}"]))
    return f"{name}_{op}"


def _model(draw: Draw, outputs: list[str], shapes: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """The model as drawn so far.

    Args:
        draw: holds nodes, constants and inputs.
        outputs: names of the outputs.
        shapes: of the outputs, where known; the others are declared without a type.
    """
    given = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in draw.feeds.items()]  # fmt: skip
    typed = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) if n in shapes
             else helper.make_empty_tensor_value_info(n) for n in outputs]  # fmt: skip
    version = next(ir for opsets, ir in _IR.items() if draw.opset in opsets)
    if version < 4:  # where every initializer is an input too
        given += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in draw.constants]
    graph = helper.make_graph(draw.nodes, "case", given, typed, draw.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", draw.opset)], ir_version=version)


def computed(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """Compute a model's outputs by name in ONNX Runtime; raises whatever it raises.

    Args:
        model: of any size below protobuf's limit.
        feeds: by name; names the model does not have are ignored.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    read = {value.name for value in session.get_inputs()}
    return dict(zip(names, session.run(None, {n: a for n, a in feeds.items() if n in read}), strict=True))
