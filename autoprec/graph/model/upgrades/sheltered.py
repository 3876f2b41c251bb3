"""Operators that ONNX's version converter would convert wrongly, or not at all: converted here.

They are written as they are in the last opset, and sheltered from the converter under another domain. For
each there is a test by numbers against what the old opset means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from autoprec.errors import ModelError
from autoprec.graph.model.passing import constant, named, replace

SHELTER = "autoprec.sheltered"
Write = Callable[[ir.Graph, ir.Node], ir.Node | None]


class Rule(NamedTuple):
    """Operators of the opsets `since` <= opset < `until`, and what writes them as in the last opset."""

    since: int
    until: int
    write: Write


def shelter(graph: ir.Graph, opset: int) -> None:
    """Write operators with a rule as in the last opset, in place.

    Raises `ModelError` where that is impossible.
    """
    for node in list(graph):
        for rule in _RULES.get(node.op_type, ()) if node.domain == "" else ():
            if rule.since <= opset < rule.until:
                written = rule.write(graph, node)
                if written is not None:
                    written.domain = SHELTER


def unshelter(graph: ir.Graph) -> None:
    """Give sheltered nodes their domain back."""
    for node in graph:
        if node.domain == SHELTER:
            node.domain = ""
    graph.opset_imports.pop(SHELTER, None)


def _resize(graph: ir.Graph, node: ir.Node) -> ir.Node:
    """Upsample 7 and 9, and Resize 10: from the corners; nearest rounds down, or up where an axis shrinks.

    Source: ONNX's own tests of Resize 10, and ONNX Runtime.
    """
    if node.op_type == "Upsample" and "scales" in node.attributes:
        scales = np.array(node.attributes.pop("scales").as_floats(), np.float32)
        tensor = ir.tensor(scales, name=f"{node.outputs[0].name}/scales")
    else:
        given = node.inputs[1]
        if given is None or given.const_value is None:
            raise ModelError(
                f"node {named(node)!r} resizes by scales that it computes; export it with fixed shapes"
            )
        tensor = given.const_value
    mode = node.attributes.get_string("mode", "nearest") or "nearest"
    factors = tensor.numpy()
    shrinks, grows = factors < 1, factors > 1
    steps: Sequence[np.ndarray] = [factors]
    # One Resize rounds in one way, so axes that shrink and axes that grow take one each.
    if mode == "nearest" and shrinks.any() and grows.any():
        steps = [np.where(shrinks, factors, 1), np.where(shrinks, 1, factors)]
    value, last = node.inputs[0], node.outputs[0]
    nodes: list[ir.Node] = []
    for place, step in enumerate(steps):
        attributes = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
        if mode == "nearest":
            attributes["nearest_mode"] = "ceil" if (step < 1).any() else "floor"
        part = constant(graph, f"{last.name}/scales{place or ''}", np.asarray(step, np.float32))
        nodes.append(ir.node("Resize", [value, None, part], attributes, domain=SHELTER, name=node.name))
        value = nodes[-1].outputs[0]
        value.name = f"{last.name}/resized{place}"
    return replace(graph, node, nodes)


def _resize_by_tf(graph: ir.Graph, node: ir.Node) -> ir.Node:  # noqa: ARG001
    """Resize 11's tf_half_pixel_for_nn: floor((x + 0.5) / scale), which is half_pixel rounded half up."""
    if node.attributes.get_string("coordinate_transformation_mode", "half_pixel") != "tf_half_pixel_for_nn":
        return node
    rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
    if node.attributes.get_string("mode", "nearest") != "nearest" or rounding != "floor":
        raise ModelError(
            f"node {named(node)!r} resizes by tf_half_pixel_for_nn with {rounding}, which opset 13 cannot "
            "say; export the model with a later opset"
        )
    node.attributes.add(ir.AttrString("coordinate_transformation_mode", "half_pixel"))
    node.attributes.add(ir.AttrString("nearest_mode", "round_prefer_ceil"))
    return node


def _group_norm(graph: ir.Graph, node: ir.Node) -> ir.Node:
    """GroupNormalization 18: scale and bias for each group; since 21 for each channel."""
    groups = node.attributes.get_int("num_groups", 0)
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if not groups or not isinstance(channels, int):
        raise ModelError(f"node {named(node)!r} normalises groups of an unknown number of channels")
    for place in (1, 2):
        value = node.inputs[place]
        assert value is not None
        if value.const_value is not None:
            wide = np.repeat(value.const_value.numpy(), channels // groups)
            node.replace_input_with(
                place, constant(graph, f"{value.name}/of_channels/{node.outputs[0].name}", wide)
            )
            continue
        places = constant(
            graph, f"{node.outputs[0].name}/groups", np.arange(channels) // (channels // groups)
        )
        gather = ir.node("Gather", [value, places], name=f"{node.name}/of_channels{place}")
        gather.outputs[0].name = f"{value.name}/of_channels/{node.outputs[0].name}"
        graph.insert_before(node, gather)
        node.replace_input_with(place, gather.outputs[0])
    return node


def _as_it_is(graph: ir.Graph, node: ir.Node) -> ir.Node:  # noqa: ARG001
    """LayerNormalization before 17, as ONNX Runtime's optimizer writes it: with its later meaning."""
    return node


def _output_half_pixel(graph: ir.Graph, node: ir.Node) -> ir.Node:  # noqa: ARG001
    """RoiAlign 10: half a pixel is not taken off; since 16 it is, unless told otherwise."""
    node.attributes.add(ir.AttrString("coordinate_transformation_mode", "output_half_pixel"))
    return node


def _hardmax(graph: ir.Graph, node: ir.Node) -> ir.Node:
    """Hardmax 1 and 11: over all axes from `axis` on, taken as one; since 13 over that axis alone."""
    shape = _static_shape(node)
    axis = node.attributes.get_int("axis", 1) % max(1, len(shape))
    flat = constant(graph, f"{node.outputs[0].name}/flat", np.array([*shape[:axis], -1], np.int64))
    whole = constant(graph, f"{node.outputs[0].name}/whole", np.array(shape, np.int64))
    nodes = [ir.node("Reshape", [node.inputs[0], flat], name=f"{node.name}/flat")]
    nodes[0].outputs[0].name = f"{node.outputs[0].name}/flattened"
    nodes.append(ir.node("Hardmax", [nodes[0].outputs[0]], {"axis": -1}, domain=SHELTER, name=node.name))
    nodes[1].outputs[0].name = f"{node.outputs[0].name}/hardmax"
    nodes.append(ir.node("Reshape", [nodes[1].outputs[0], whole], domain=SHELTER, name=f"{node.name}/whole"))
    nodes[0].domain = SHELTER
    return replace(graph, node, nodes)


def _mask(graph: ir.Graph, node: ir.Node) -> None:  # noqa: ARG001
    """Dropout before 12, in inference: a mask of nothing; since then of everything."""
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        raise ModelError(
            f"node {named(node)!r}: its mask output is used, but nothing is dropped; export it for inference"
        )
    node.resize_outputs(1)  # a mask that nobody reads has a type that Dropout does not make any more


def _not_training(graph: ir.Graph, node: ir.Node) -> None:  # noqa: ARG001
    """BatchNormalization before 14: with more outputs than one it normalises by each batch's statistics."""
    if any(value.name for value in node.outputs[1:]):
        raise ModelError(
            f"node {named(node)!r} (BatchNormalization) has {len(node.outputs)} outputs, as in training; "
            "export the model for inference"
        )


def _without_value(graph: ir.Graph, node: ir.Node) -> None:  # noqa: ARG001
    """Pad 2 by what is in the image: its value says nothing, and the converter would leave it there."""
    if node.attributes.get_string("mode", "constant") != "constant":
        node.attributes.pop("value", None)


def _static_shape(node: ir.Node) -> list[int]:
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is None or not shape.is_static():
        raise ModelError(
            f"node {named(node)!r} ({node.op_type}) reads a value of unknown size; fix its sizes"
        )
    return [int(str(size)) for size in shape]


_RULES: Mapping[str, Sequence[Rule]] = MappingProxyType(
    {
        "Upsample": (Rule(7, 10, _resize),),
        "Resize": (Rule(10, 11, _resize), Rule(11, 13, _resize_by_tf)),
        "GroupNormalization": (Rule(18, 21, _group_norm),),
        "LayerNormalization": (Rule(1, 17, _as_it_is),),
        "Hardmax": (Rule(7, 13, _hardmax),),
        "Dropout": (Rule(7, 12, _mask),),
        "Pad": (Rule(7, 11, _without_value),),
        "BatchNormalization": (Rule(7, 14, _not_training),),
        "RoiAlign": (Rule(10, 16, _output_half_pixel),),
    }
)
