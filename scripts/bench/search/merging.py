"""Blocks merged into a few groups, so that every assignment can be measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from autoprec.records import Block


def merged(blocks: Sequence[Block], groups: int) -> dict[str, int]:
    """Block name to its group: neighbours in graph order, about the same work in each.

    The work is cut into the fewest equal parts of which `groups` have a block: one block may have the work of
    several. Raises SystemExit for more groups than there are blocks.
    """
    if len(blocks) < groups:
        raise SystemExit(f"{groups} groups of {len(blocks)} blocks: take fewer")
    work = np.array([block.macs for block in blocks], dtype=float) + 1.0
    middle = (work.cumsum() - work / 2) / work.sum()
    cuts = ((middle * parts).astype(int) for parts in itertools.count(groups))
    places = next(cut for cut in cuts if len(set(cut)) >= groups)
    # One more part may part two pairs at once: the last groups are then one.
    numbers = np.unique(places, return_inverse=True)[1].clip(max=groups - 1)
    return {block.name: int(number) for block, number in zip(blocks, numbers, strict=True)}
