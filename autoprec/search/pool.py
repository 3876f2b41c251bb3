"""Candidate assignments: Lagrangian sweeps of the surrogates, mutants of the front, whatever is untried.

Owns generating them; the strategy chooses among them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autoprec.search.space import Codes, Floats, Space

MULTIPLIERS = np.logspace(-2.5, 2.5, 16)
SWEEPS = 2


def sweep(space: Space, times: Floats, borders: Floats, damages: Floats) -> Codes:
    """Codes (draws * multipliers, blocks) of little time + multiplier * damage, one row for each pair.

    As in HAWQ-V3 (arXiv:2011.10680), but with the costs of type changes, which rule out its integer program:
    blocks take their best precision in turn while their neighbours stay fixed (iterated conditional modes,
    Besag 1986). Duplicates are kept.

    Args:
        space: blocks, their precisions, and which blocks touch.
        times: (draws, blocks, precisions), in units of the reference's latency.
        borders: (draws, edges, precisions, precisions), cost of a type change, in the same unit.
        damages: (draws, blocks, precisions), not negative, in units of loss.
    """
    draws = len(times)
    # At a multiplier of 1 the whole range of damages weighs as much as that of times, whatever their units.
    spread = np.ptp(times, axis=2).sum(axis=1) / np.maximum(np.ptp(damages, axis=2).sum(axis=1), 1e-12)
    multipliers = spread[:, None] * MULTIPLIERS
    costs = times[:, None] + multipliers[:, :, None, None] * damages[:, None]
    costs = np.where(space.legal, costs, np.inf).reshape(-1, *space.legal.shape)
    owner = np.repeat(np.arange(draws), len(MULTIPLIERS))
    codes: Codes = costs.argmin(axis=2)
    around = neighbours(space)
    for _ in range(SWEEPS):
        for block, links in enumerate(around):
            cost = costs[:, block].copy()
            for link in links:
                pair = borders[owner, link.edge]
                picked = codes[:, link.other]
                rows = np.arange(len(codes))
                cost += pair[rows, :, picked] if link.is_first else pair[rows, picked, :]
            codes[:, block] = cost.argmin(axis=1)
    return codes


class Link(NamedTuple):
    """What a block touches: the edge, the block at its other end, whether the block itself is its first."""

    edge: int
    other: int
    is_first: bool


def neighbours(space: Space) -> list[list[Link]]:
    """The links of each block."""
    around: list[list[Link]] = [[] for _ in space.names]
    for edge, (first, second) in enumerate(space.edges.tolist()):
        around[first].append(Link(edge, second, is_first=True))
        around[second].append(Link(edge, first, is_first=False))
    return around


def mutants(space: Space, parents: Codes, rng: np.random.Generator, count: int) -> Codes:
    """Codes (count, blocks) of children: each third flips single blocks, changes a run, or crosses two
    parents.

    Args:
        space: the legal assignments.
        parents: codes (n, blocks), n at least 1.
        rng: source of all random draws.
        count: number of children.
    """
    blocks = len(space.names)
    children = parents[rng.integers(len(parents), size=count)].copy()
    partners = parents[rng.integers(len(parents), size=count)]
    fresh = space.draw(rng, count)
    place = np.arange(blocks)
    kind = np.arange(count)[:, None] % 3
    points = rng.random((count, blocks)) < rng.integers(1, 4, size=(count, 1)) / blocks
    # Without this, (1 - 1/blocks)^blocks, about a third, would be copies of their parents.
    points |= place == rng.integers(blocks, size=(count, 1))
    starts = rng.integers(blocks, size=(count, 1))
    # About a quarter of the blocks at a time: a lone change pays for a cast at each of its borders, a run
    # pays only at its ends.
    lengths = 1 + rng.geometric(min(1.0, 4.0 / blocks), size=(count, 1))
    runs = (place >= starts) & (place < starts + lengths)
    uniform = np.broadcast_to(rng.integers(len(space.precisions), size=(count, 1)), children.shape)
    uniform = np.where(space.legal[place, uniform], uniform, fresh)
    children = np.where((kind == 0) & points, fresh, children)
    children = np.where((kind == 1) & runs, uniform, children)
    return np.where((kind == 2) & runs, partners, children)


def unknown(codes: Codes, tried: frozenset[tuple[int, ...]]) -> Codes:
    """Rows that are not `tried`, each once, in their order."""
    rows = dict.fromkeys(map(tuple, codes.tolist()))
    return np.array([row for row in rows if row not in tried], dtype=np.intp).reshape(-1, codes.shape[1])


def any_unknown(space: Space, tried: frozenset[tuple[int, ...]]) -> Codes:
    """(1, blocks) the first assignment in counting order that is not `tried`; (0, blocks) if all are."""
    options = [np.flatnonzero(legal) for legal in space.legal]
    if len(tried) >= space.size:
        return np.empty((0, len(options)), dtype=np.intp)
    digits = [len(option) for option in options]
    # Among one row more than were tried, one is new: no need to walk the space, however large.
    for number in range(len(tried) + 1):
        row, rest = [], number
        for option, base in zip(options, digits, strict=True):
            rest, digit = divmod(rest, base)
            row.append(int(option[digit]))
        if tuple(row) not in tried:
            return np.array([row], dtype=np.intp)
    raise AssertionError("fewer known rows than numbers tried")
