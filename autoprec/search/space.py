"""Assignments as rows of integers, and which blocks are neighbours.

Owns the encoding that surrogates compute with; objectives are none of its business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprec.precisions import PRECISIONS
from autoprec.records import Block

Codes = NDArray[np.intp]
"""(n, blocks): for each block the index of its precision in `Space.precisions`."""
Floats = NDArray[np.float64]
Row = tuple[int, ...]
"""One assignment's codes, (blocks,), as a key of sets and mappings."""


class Space:
    """The legal assignments of a list of blocks.

    Attributes:
        names: block names in graph order.
        precisions: every precision that some block allows, in order of appearance.
        legal: (blocks, precisions) bool.
        casts: (precisions, precisions) bool, whether values change their type between two; between variants
            of one precision, such as INT8 with and without a cure, they do not.
        edges: (k, 2) indices of blocks that share a value, earlier block first.
        share: (blocks,) guess of each block's share of the work; sums to 1.
        size: number of legal assignments.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.names = tuple(block.name for block in blocks)
        self.precisions = tuple(dict.fromkeys(p for block in blocks for p in block.allowed))
        self.legal: NDArray[np.bool_] = np.array(
            [[p in block.allowed for p in self.precisions] for block in blocks]
        )
        types = [_type(name) for name in self.precisions]
        self.casts = np.array([[first != second for second in types] for first in types], dtype=bool)
        self.edges = _edges(blocks)
        macs = np.array([block.macs for block in blocks], dtype=float)
        even = np.full(len(blocks), 1 / len(blocks))
        # MACs alone would give no time to blocks without any, such as norms and resizes.
        self.share = 0.5 * even + 0.5 * macs / macs.sum() if macs.any() else even
        # A float: five precisions in 40 blocks overflow 64-bit integers.
        self.size = float(np.prod(self.legal.sum(axis=1, dtype=float)))

    def encode(self, choices: Mapping[str, Any]) -> Row | None:
        """The row of block names to precision names; None if a block is missing or its choice not legal."""
        try:
            row = tuple(self.precisions.index(choices[name]) for name in self.names)
        except (KeyError, ValueError):
            return None
        return row if self.legal[np.arange(len(row)), list(row)].all() else None

    def decode(self, row: Sequence[int] | Codes) -> dict[str, str]:
        """Block name to precision name."""
        return {name: self.precisions[code] for name, code in zip(self.names, row, strict=True)}

    def codes(self, rows: Sequence[Row]) -> Codes:
        """Rows as an array (n, blocks), also where n is 0."""
        return np.array(rows, dtype=np.intp).reshape(-1, len(self.names))

    def table(self, figures: Mapping[str, Mapping[str, float]]) -> Floats:
        """A prior's table as (blocks, precisions); NaN where it has no finite, non-negative figure."""
        table = np.array(
            [[figures.get(n, {}).get(p, np.nan) for p in self.precisions] for n in self.names], dtype=float
        )
        return np.where(np.isfinite(table) & (table >= 0), table, np.nan)

    def draw(self, rng: np.random.Generator, count: int) -> Codes:
        """(count, blocks) uniformly random legal rows."""
        keys = np.where(self.legal, rng.random((count, *self.legal.shape)), -1.0)
        drawn: Codes = np.argmax(keys, axis=2)
        return drawn

    def one_hot(self, codes: Codes) -> Floats:
        """(n, blocks * precisions) of zeros and ones."""
        hot: NDArray[np.bool_] = codes[:, :, None] == np.arange(len(self.precisions))
        return hot.reshape(len(codes), self.legal.size).astype(np.float64)

    def crossings(self, codes: Codes) -> NDArray[np.bool_]:
        """(n, edges) whether the type changes across the edge."""
        changed: NDArray[np.bool_] = self.casts[codes[:, self.edges[:, 0]], codes[:, self.edges[:, 1]]]
        return changed


def _type(name: str) -> tuple[str, bool]:
    """What an engine sees of a precision; one that leaves convolutions in floats has other borders."""
    return (PRECISIONS[name].plain, PRECISIONS[name].only_products) if name in PRECISIONS else (name, False)


def _edges(blocks: Sequence[Block]) -> Codes:
    """(k, 2) producer and consumer of each value between blocks; a chain where blocks do not name values."""
    maker = {value: number for number, block in enumerate(blocks) for value in block.outputs}
    pairs = {
        (maker[value], number)
        for number, block in enumerate(blocks)
        for value in block.inputs
        if value in maker and maker[value] != number
    }
    if not pairs:
        pairs = {(number, number + 1) for number in range(len(blocks) - 1)}
    return np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2)
