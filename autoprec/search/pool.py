"""Assignments worth a look: Lagrangian sweeps of the surrogates, mutants of the front, random ones.

Owns making them; which one is tried is the sampler's choice.
"""

from __future__ import annotations

import numpy as np

from autoprec.search.space import Codes, Floats, Space

MULTIPLIERS = np.logspace(-2.5, 2.5, 16)
SWEEPS = 2


def sweep(space: Space, times: Floats, borders: Floats, damages: Floats) -> Codes:
    """For each draw and multiplier, an assignment of little time + multiplier * damage.

    `times` and `damages` are (draws, blocks, precisions), `borders` (draws, edges, precisions,
    precisions). As in HAWQ-V3 (arXiv:2011.10680), but with the costs of type changes: blocks take their best
    precision in turn while their neighbours hold still (iterated conditional modes). Duplicates stay.

    Args:
        space: blocks, their precisions, and which blocks touch.
        times: (draws, blocks, precisions).
        borders: (draws, edges, precisions, precisions).
        damages: (draws, blocks, precisions).
    """
    draws = len(times)
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
            for edge, other, first in links:
                pair = borders[owner, edge]
                picked = codes[:, other]
                rows = np.arange(len(codes))
                cost += pair[rows, :, picked] if first else pair[rows, picked, :]
            codes[:, block] = cost.argmin(axis=1)
    return codes


def neighbours(space: Space) -> list[list[tuple[int, int, bool]]]:
    """For each block (edge, other block, whether it is the edge's first)."""
    around: list[list[tuple[int, int, bool]]] = [[] for _ in space.names]
    for edge, (first, second) in enumerate(space.edges.tolist()):
        around[first].append((edge, second, True))
        around[second].append((edge, first, False))
    return around


def mutants(space: Space, parents: Codes, rng: np.random.Generator, count: int) -> Codes:
    """`count` children: a third flip one to three blocks, a third a run of blocks, a third cross two.

    Args:
        space: what children may be.
        parents: codes (n, blocks).
        rng: draws all.
        count: of children.
    """
    blocks = len(space.names)
    children = parents[rng.integers(len(parents), size=count)].copy()
    partners = parents[rng.integers(len(parents), size=count)]
    fresh = space.draw(rng, count)
    place = np.arange(blocks)
    kind = np.arange(count)[:, None] % 3
    points = rng.random((count, blocks)) < rng.integers(1, 4, size=(count, 1)) / blocks
    points |= place == rng.integers(blocks, size=(count, 1))
    starts = rng.integers(blocks, size=(count, 1))
    lengths = 1 + rng.geometric(min(1.0, 4.0 / blocks), size=(count, 1))
    runs = (place >= starts) & (place < starts + lengths)
    uniform = np.broadcast_to(rng.integers(len(space.precisions), size=(count, 1)), children.shape)
    uniform = np.where(space.legal[place, uniform], uniform, fresh)
    children = np.where((kind == 0) & points, fresh, children)
    children = np.where((kind == 1) & runs, uniform, children)
    return np.where((kind == 2) & runs, partners, children)


def unknown(codes: Codes, tried: frozenset[tuple[int, ...]]) -> Codes:
    """Rows that are not `tried`, each once, first come first."""
    rows = dict.fromkeys(map(tuple, codes.tolist()))
    return np.array([row for row in rows if row not in tried], dtype=np.intp).reshape(-1, codes.shape[1])


def any_unknown(space: Space, tried: frozenset[tuple[int, ...]]) -> Codes:
    """The first assignment in counting order that is not `tried`; (0, blocks) when all are."""
    options = [np.flatnonzero(legal) for legal in space.legal]
    if len(tried) >= space.size:
        return np.empty((0, len(options)), dtype=np.intp)
    digits = [len(option) for option in options]
    for number in range(len(tried) + 1):
        row, rest = [], number
        for option, base in zip(options, digits, strict=True):
            rest, digit = divmod(rest, base)
            row.append(int(option[digit]))
        if tuple(row) not in tried:
            return np.array([row], dtype=np.intp)
    raise AssertionError("fewer known rows than numbers tried")
