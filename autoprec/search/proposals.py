"""Assignments out of blocks: the anchors, and the space that Optuna sees.

Leaves choosing to the strategies and measuring to the study.
"""

from __future__ import annotations

from collections.abc import Sequence

from optuna.distributions import BaseDistribution, CategoricalDistribution

from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, Block


def search_space(blocks: Sequence[Block]) -> dict[str, BaseDistribution]:
    """One categorical parameter for each block, named after it, over its allowed precisions."""
    return {block.name: CategoricalDistribution(block.allowed) for block in blocks}


def anchors(
    blocks: Sequence[Block], precisions: Sequence[str], *, reference: str, base: str
) -> tuple[tuple[str, Assignment], ...]:
    """(label, assignment) of one uniform assignment for each precision, without duplicates.

    A block that does not allow the precision takes `base` under a quantised one (no casts within the
    float parts of its neighbours), else `reference`, else the first that it allows.

    Args:
        blocks: with what each may have.
        precisions: names, one anchor for each.
        reference: precision of the reference.
        base: float precision around quantised blocks.
    """
    labels: dict[Assignment, str] = {}
    for precision in precisions:
        fallbacks = (base, reference) if PRECISIONS[precision].is_quantized else (reference,)
        choices = tuple((block.name, _first_allowed(block, (precision, *fallbacks))) for block in blocks)
        labels.setdefault(Assignment(choices=choices), f"all-{precision}")
    return tuple((label, assignment) for assignment, label in labels.items())


def _first_allowed(block: Block, wanted: Sequence[str]) -> str:
    return next(name for name in (*wanted, *block.allowed) if name in block.allowed)
