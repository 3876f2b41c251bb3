"""Comparing what each block was asked to run in with what its kernels ran in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import onnx_ir as ir

from autoprec.graph.ops.costs import COSTLY_OPS, SQUARING_OPS
from autoprec.graph.ops.pointwise import is_about
from autoprec.graph.rewrite.projections import origin
from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, Block, BlockAudit, KernelTime


def deciding_nodes(model: ir.Model, blocks: Sequence[Block], assignment: Assignment) -> tuple[str, ...]:
    """Names of the nodes whose kernels show what a block ran in: the costly ones that its precision types; in
    a block that has none, those that square and sum."""
    choices = assignment.as_dict()
    home = {node: block.name for block in blocks for node in block.nodes}
    costly = [node for node in model.graph if node.op_type in COSTLY_OPS]
    deciding = [node for node in costly if is_about(PRECISIONS[choices[home[str(node.name)]]], node)]
    told = {home[str(node.name)] for node in costly}
    deciding += [
        node for node in model.graph if node.op_type in SQUARING_OPS and home[str(node.name)] not in told
    ]
    return tuple(str(node.name) for node in deciding)


def audit(
    blocks: Sequence[Block], assignment: Assignment, kernels: Sequence[KernelTime], heavy: Iterable[str]
) -> tuple[BlockAudit, ...]:
    """What each block ran in: the precision of most of its costly kernels.

    Args:
        blocks: all blocks of the model.
        assignment: what was asked.
        kernels: what the engine reports; a kernel that spans blocks gives each its share of the time.
        heavy: names of the nodes whose kernels decide, as from `deciding_nodes`: not an INT8 block's Softmax.
    """
    deciding = frozenset(heavy)
    home = {node: block.name for block in blocks for node in block.nodes}
    ran: dict[str, Counter[str]] = defaultdict(Counter)
    names: dict[str, list[str]] = defaultdict(list)
    times: dict[str, float] = defaultdict(float)
    for kernel in kernels:
        # A projection that is written in parts counts for the node that it was.
        ours = [node for node in (origin(node, home) for node in kernel.nodes) if node in home]
        for node in ours:
            # By number of nodes: an engine does not report which node of a kernel takes how long.
            times[home[node]] += kernel.time_ms / len(ours)
            # A kernel whose precision the engine does not name says nothing of its block.
            if node in deciding and kernel.precision:
                ran[home[node]][kernel.precision] += 1
                names[home[node]].append(kernel.kernel)
    return tuple(
        _judge(name, asked, ran[name], names[name], times[name]) for name, asked in assignment.choices
    )


def _judge(name: str, asked: str, ran: Counter[str], kernels: list[str], time_ms: float) -> BlockAudit:
    """One block's audit; `matches` is None where no costly kernel is reported."""
    short = PRECISIONS[asked].runs_as
    listed = ", ".join(f"{p} x{count}" for p, count in ran.most_common())
    return BlockAudit(
        block=name,
        asked=asked,
        ran=listed,
        # Most, not all: TensorRT-RTX runs a ConvTranspose in half whatever stands around it.
        matches=ran[short] * 2 > ran.total() if ran else None,
        time_ms=time_ms,
        detail="; ".join(f"{kernel} x{count}" for kernel, count in Counter(kernels).most_common(3)),
    )
