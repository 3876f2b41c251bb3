"""Hidden truths of the problems: functions of codes (n, blocks), where precision 0 is the reference's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
Truth = Callable[[Codes], Floats]
TOP = 0.85
"""The largest loss of a mask."""


class casts_and_cliffs:  # noqa: N801  it is called like the functions beside it
    """Latency: block times, casts between neighbours; with cliffs, discounts for fused runs and penalties.

    `times` (blocks, precisions) are what profiles of the anchors show.

    Args:
        rng: draws all constants but the factors of `rough`.
        count: number of blocks.
        kinds: number of precisions, at most 4.
        cliffs: add discounts and penalties.
        rough: let a block's time depend on its neighbours' precisions too, by a random factor.
    """

    def __init__(
        self, rng: np.random.Generator, count: int, kinds: int, *, cliffs: bool, rough: bool = False
    ) -> None:
        work = np.exp(rng.normal(0, 0.7, count))
        speed = np.column_stack(
            (
                np.ones(count),
                rng.uniform(0.4, 1.15, count),
                rng.uniform(1.6, 2.1, count),
                rng.uniform(0.85, 1.1, count),
            )
        )[:, :kinds]
        self.times = (work / work.sum())[:, None] * speed
        cast = rng.uniform(0.2, 1.0, (4, 4))[:kinds, :kinds] * ~np.eye(kinds, dtype=bool)
        sizes = np.exp(rng.normal(0, 0.6, count - 1))
        self._casts = 0.25 / count * sizes[:, None, None] * cast
        self._cliffs = cliffs
        self._factors = np.exp(
            0.1 * rough * np.random.default_rng(count).standard_normal((count, *3 * (kinds,)))
        )
        self._limit = int(rng.integers(count // 3, count // 2 + 1))

    def __call__(self, codes: Codes) -> Floats:
        """Latencies (n,) of codes (n, blocks), in units of the reference's."""
        blocks = np.arange(codes.shape[1])
        before, after = np.roll(codes, 1, axis=1), np.roll(codes, -1, axis=1)
        parts = self.times[blocks, codes] * self._factors[blocks, before, codes, after]
        casts = self._casts[blocks[:-1], codes[:, :-1], codes[:, 1:]].sum(axis=1)
        if not self._cliffs:
            return parts.sum(axis=1) + casts
        same = codes[:, 1:] == codes[:, :-1]
        fused = np.zeros(codes.shape, dtype=bool)
        triple = same[:, 1:] & same[:, :-1]
        for shift in range(3):
            fused[:, shift : shift + triple.shape[1]] |= triple
        alone = (codes == 1) & ~fused
        parts = parts * np.where(fused & (codes == 1), 0.85, 1.0) * np.where(alone, 1.2, 1.0)
        kinds_used = np.sort(codes, axis=1)
        switches = (kinds_used[:, 1:] != kinds_used[:, :-1]).sum(axis=1)
        spilled = (codes >= 2).sum(axis=1) > self._limit
        return parts.sum(axis=1) + casts + 0.03 * (switches > 1) + 0.08 * spilled


def summed(rng: np.random.Generator, damages: Floats, *, sub_additive: bool) -> Truth:
    """Damages and neighbour interactions of either sign, summed and saturating."""
    count = len(damages)
    pairs = rng.normal(0.3, 0.7, count - 1)
    power = 1.6 if sub_additive else 1.0

    def truth(codes: Codes) -> Floats:
        own = damages[np.arange(count), codes]
        both = np.clip(1.0 + pairs * 0.5, 0.2, None) - 1.0
        total = (own**power).sum(axis=1) + (both * np.sqrt(own[:, 1:] * own[:, :-1]) ** power).sum(axis=1)
        return TOP * -np.expm1(-(np.maximum(total, 0.0) ** (1 / power)) / TOP)

    return truth


def long_range(rng: np.random.Generator, damages: Floats, *, sub_additive: bool) -> Truth:  # noqa: ARG001
    """Far pairs that hurt when they differ, and triples that hurt when all are quantised."""
    count = len(damages)
    pairs = np.array([rng.choice(count, 2, replace=False) for _ in range(count // 2)])
    triples = np.array([rng.choice(count, 3, replace=False) for _ in range(count // 3)])
    pair_cost, triple_cost = rng.exponential(0.03, len(pairs)), rng.exponential(0.06, len(triples))

    def truth(codes: Codes) -> Floats:
        low = codes == 1
        total = 0.5 * damages[np.arange(count), codes].sum(axis=1)
        total += (low[:, pairs[:, 0]] != low[:, pairs[:, 1]]) @ pair_cost
        total += low[:, triples].all(axis=2) @ triple_cost
        return TOP * total / (total + TOP)

    return truth


def cancelling(rng: np.random.Generator, damages: Floats, *, sub_additive: bool) -> Truth:  # noqa: ARG001
    """Every block pushes the masks along its own direction of six; pushes may cancel."""
    count, kinds = damages.shape
    directions = rng.standard_normal((count, kinds, 6))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    pushes = directions * np.sqrt(damages)[:, :, None]

    def truth(codes: Codes) -> Floats:
        pushed = pushes[np.arange(count), codes].sum(axis=1)
        return TOP * np.tanh(np.square(pushed).sum(axis=1) / TOP)

    return truth


def rescued(rng: np.random.Generator, damages: Floats, *, sub_additive: bool) -> Truth:  # noqa: ARG001
    """Some blocks ruin the masks alone and are harmless once a partner is quantised with them."""
    count = len(damages)
    shuffled = rng.permutation(count)
    fragile, partner = shuffled[: count // 5], shuffled[count // 5 : 2 * (count // 5)]
    ruin = rng.uniform(0.1, 0.6, len(fragile))

    def truth(codes: Codes) -> Floats:
        low = codes == 1
        total = 0.6 * damages[np.arange(count), codes].sum(axis=1)
        total += (low[:, fragile] & ~low[:, partner]) @ ruin
        return TOP * -np.expm1(-total / TOP)

    return truth


def rough(rng: np.random.Generator, damages: Floats, *, sub_additive: bool) -> Truth:  # noqa: ARG001
    """A block's damage depends on its two neighbours' precisions, by a random factor (an NK landscape)."""
    count, kinds = damages.shape
    factors = np.exp(0.45 * rng.standard_normal((count, kinds, kinds, kinds)))

    def truth(codes: Codes) -> Floats:
        before, after = np.roll(codes, 1, axis=1), np.roll(codes, -1, axis=1)
        place = np.arange(count)
        total = (damages[place, codes] * factors[place, before, codes, after]).sum(axis=1)
        return TOP * -np.expm1(-total / TOP)

    return truth


def by_sample(rng: np.random.Generator, damages: Floats, *, sub_additive: bool) -> Truth:  # noqa: ARG001
    """Each of 40 samples suffers from blocks of its own, and loses its mask abruptly beyond a threshold."""
    count = len(damages)
    weights = np.exp(1.2 * rng.standard_normal((count, 40)))
    weights /= weights.mean(axis=1, keepdims=True)
    threshold = rng.uniform(0.05, 0.6, 40)

    def truth(codes: Codes) -> Floats:
        push = damages[np.arange(count), codes] @ weights
        loss = (
            0.5 * push
            + 0.5 / (1.0 + np.exp(-8.0 * (push - threshold) / threshold))
            - 0.5 / (1.0 + np.exp(8.0))
        )
        return TOP * np.minimum(loss, 1.0).mean(axis=1)

    return truth


def worst_few(rng: np.random.Generator, damages: Floats, *, sub_additive: bool) -> Truth:  # noqa: ARG001
    """The worst blocks decide, within stages of five that share a fate: far from a sum."""
    count = len(damages)
    stage = np.arange(count) // 5
    shared = np.exp(0.5 * rng.standard_normal(stage[-1] + 1))

    def truth(codes: Codes) -> Floats:
        own = damages[np.arange(count), codes]
        worst = np.stack([own[:, stage == s].max(axis=1) * shared[s] for s in range(stage[-1] + 1)], axis=1)
        return TOP * np.tanh(np.sqrt(np.square(worst).sum(axis=1)) * 2.0 / TOP)

    return truth


def network(rng: np.random.Generator, count: int) -> Truth:
    """A random residual network whose layers are really rounded; the loss is 1 - IoU of its masks."""
    width, samples = 24, 192
    first = rng.standard_t(4, (count, width, width)) / np.sqrt(2 * width)
    gains = rng.uniform(0.2, 1.2, (count, 1, 1))
    second = gains * rng.standard_t(4, (count, width, width)) / np.sqrt(2 * width)
    head = rng.standard_normal(width)
    images = rng.standard_normal((samples, width)) * np.exp(0.7 * rng.standard_normal(width))
    seen: dict[tuple[int, ...], float] = {}

    def rounded(array: Floats, kind: int) -> Floats:
        if kind == 1:
            step = np.abs(array).max() / 15.0
            return np.round(array / step) * step
        return array if kind == 2 else array.astype(np.float16).astype(np.float64)

    def masks(row: tuple[int, ...]) -> NDArray[np.bool_]:
        state = images
        for layer, kind in enumerate(row):
            inner = np.maximum(rounded(state, kind) @ rounded(first[layer], kind), 0.0)
            state = state + rounded(inner, kind) @ rounded(second[layer], kind)
            state = state / np.sqrt(np.square(state).mean(axis=1, keepdims=True))
        return state @ head > 0

    reference = masks((0,) * count)

    def truth(codes: Codes) -> Floats:
        for row in set(map(tuple, codes.tolist())) - seen.keys():
            mask = masks(row)
            seen[row] = 1.0 - (mask & reference).sum() / max((mask | reference).sum(), 1)
        return np.array([seen[row] for row in map(tuple, codes.tolist())])

    return truth
