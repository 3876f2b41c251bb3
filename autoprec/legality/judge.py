"""Which precisions a block may have, and why not the others."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence

import msgspec
import onnx_ir as ir

from autoprec.errors import SpecError
from autoprec.graph.grids.given import given_precisions
from autoprec.graph.ops.attention import attention_part
from autoprec.graph.ops.costs import COSTLY_OPS
from autoprec.graph.ops.matrices import is_weighted
from autoprec.graph.ops.placement import may_be_quantized
from autoprec.graph.ops.pointwise import is_about, is_pointwise
from autoprec.graph.ops.support import supports
from autoprec.precisions import CURES, PRECISIONS, Precision
from autoprec.records import Block
from autoprec.records.blocks import SAME


def judge(
    blocks: Sequence[Block],
    model: ir.Model,
    precisions: Sequence[str],
    *,
    pin: Mapping[str, str] | None = None,
    refused: Mapping[tuple[str, str], str] | None = None,
) -> tuple[Block, ...]:
    """The blocks with `allowed` and `refused` filled in.

    Args:
        blocks: a partition of the model.
        model: the model.
        precisions: the study's list of names; `allowed` keeps its order.
        pin: glob pattern of block names to the one precision that they may have.
        refused: (block name, precision name) to a reason, from the backend's probe or from calibration.

    Raises `SpecError` for a pattern that matches no block, a pin that is refused, or a block that may have
    no precision at all.
    """
    nodes = {str(node.name): node for node in model.graph}
    opset = model.graph.opset_imports[""]
    pins = _pins(blocks, pin or {})
    judged = []
    for block in blocks:
        reasons: dict[str, str] = {}
        effects: dict[str, str] = {}
        members = [nodes[name] for name in block.nodes]
        for name in precisions:
            reason = (refused or {}).get((block.name, name)) or _reason(members, PRECISIONS[name], opset)
            if reason:
                reasons[name] = reason
            # Before the next case: of two equal variants the one that is pinned must stay.
            elif pins.get(block.name, name) != name:
                reasons[name] = f"pinned to {pins[block.name]}"
            elif (same := effects.setdefault(_effective(members, PRECISIONS[name]), name)) != name:
                reasons[name] = SAME.format(same)
        allowed = tuple(name for name in precisions if name not in reasons)
        if not allowed:
            why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
            raise SpecError(
                f"block {block.name!r} may have none of search.precisions ({why}); add one that it may have"
            )
        judged.append(msgspec.structs.replace(block, allowed=allowed, refused=tuple(reasons.items())))
    return tuple(judged)


def _reason(nodes: Sequence[ir.Node], precision: Precision, opset: int) -> str:
    """Why a block of these nodes cannot have a precision; empty if it can."""
    if precision.is_quantized and (came := given_precisions(nodes)):
        # The scales are in the file, so neither another type nor a cure of weights can be had.
        if precision.plain not in came:
            return f"comes quantised in {', '.join(sorted(came))}"
        return (
            ""
            if precision.name == precision.plain
            else f"comes quantised; {precision.plain} keeps its scales"
        )
    if precision.is_quantized:
        if any(node.op_type in COSTLY_OPS and is_about(precision, node) for node in nodes):
            return ""
        if any(_is_matrix(node, precision) for node in nodes) and precision.block_size:
            return f"none of its products' inner lengths divides into blocks of {precision.block_size}"
        return "has no op that would gain by it"
    assert precision.float_type is not None
    for node in nodes:
        if node.op_type in COSTLY_OPS and not supports(node, precision.float_type, opset):
            return f"{node.op_type} does not take {precision.float_type.name}"
    return ""


def _is_matrix(node: ir.Node, precision: Precision) -> bool:
    """Whether a node multiplies by a matrix of weights in a precision."""
    return is_weighted(node) and (
        node.op_type in precision.quantized_ops or (precision.only_products and is_pointwise(node))
    )


def _effective(nodes: Sequence[ir.Node], precision: Precision) -> str:
    """The name of a variant without the parts that change nothing in a block of these nodes."""
    idle: set[str] = set()
    if not any(map(is_weighted, nodes)):
        idle |= {name for name, cure in CURES.items() if "passes" in cure}  # they edit weights
    if not any(node.op_type == "Add" and may_be_quantized(node) for node in nodes):
        idle.add("float-add")
    parts = {attention_part(node) for node in nodes}
    idle |= {f"{part}-float" for part in ("qk", "pv") if part not in parts}
    if "float-add" in idle and not any(node.op_type in ("Conv", "ConvTranspose") for node in nodes):
        # Products are then all that is quantised in any case.
        idle.add("gemm")
    return "+".join(part for part in precision.name.split("+") if part not in idle)


def _pins(blocks: Sequence[Block], patterns: Mapping[str, str]) -> dict[str, str]:
    """The fixed precision of pinned blocks, by name; a later pattern wins. Raises `SpecError`."""
    names = [block.name for block in blocks]
    pins: dict[str, str] = {}
    for pattern, precision in patterns.items():
        matching = fnmatch.filter(names, pattern)
        if not matching:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3)
            hint = f"similar names: {', '.join(near)}" if near else "`autoprec blocks` lists them"
            raise SpecError(f"blocks.pin: {pattern!r} matches no block; {hint}")
        pins.update(dict.fromkeys(matching, precision))
    return pins
