"""What follows from blocks alone: the anchors, and the search space in Optuna's terms.

Strategies choose, the study measures.
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

    A block that does not allow the precision takes the one that is the same in it, else `base` if the
    precision is quantised, else `reference`, else the first precision that it allows.

    Args:
        blocks: each with its allowed precisions.
        precisions: names, one anchor for each.
        reference: precision of the reference.
        base: float precision that quantised blocks use around their integers.
    """
    labels: dict[Assignment, str] = {}
    for precision in precisions:
        # Quantised neighbours compute their float parts in `base`: another float here would add casts.
        fallbacks = (base, reference) if PRECISIONS[precision].is_quantized else (reference,)
        choices = tuple(
            (block.name, _first_allowed(block, (precision, block.same_as(precision), *fallbacks)))
            for block in blocks
        )
        labels.setdefault(Assignment(choices=choices), f"all-{precision}")
    return tuple((label, assignment) for assignment, label in labels.items())


def _first_allowed(block: Block, wanted: Sequence[str]) -> str:
    return next(name for name in (*wanted, *block.allowed) if name in block.allowed)
