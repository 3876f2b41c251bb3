"""Seeded tabular problems: blocks, a hidden truth, noisy measurements, and the priors that a study would
have.

The truths are made independently of the surrogates: damages add up only in some kinds, in others errors
cancel or rescue each other, latency has cliffs, and one kind is a small network that is really quantised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from truths import (
    Floats,
    by_sample,
    cancelling,
    casts_and_cliffs,
    long_range,
    network,
    rescued,
    rough,
    summed,
    worst_few,
)

from autoprec.records import Block
from autoprec.search import Priors

ALL = ("fp16", "int8", "fp32", "bf16")
Truth = Callable[[NDArray[np.intp]], Floats]
SENSITIVITIES = json.loads((Path(__file__).parent / "efficientvit_sam_int8.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Kind:
    """A family of problems. `measured` names a model whose published sensitivities shape the damages."""

    name: str
    group: str
    blocks: int
    precisions: int
    loss: str = "summed"
    cliffs: bool = False
    catastrophic: int = 0
    measured: str = ""
    latency_noise: float = 0.007
    loss_noise: float = 0.03
    priors: str = "honest"
    rough: bool = False


KINDS = (
    Kind("chain-8x3", "assumed", 8, 3),
    Kind("chain-16x4", "assumed", 16, 4),
    Kind("chain-24x3", "assumed", 24, 3),
    Kind("chain-40x4", "assumed", 40, 4),
    Kind("catastrophic-16x3", "assumed", 16, 3, catastrophic=3),
    Kind("catastrophic-32x4", "assumed", 32, 4, catastrophic=4),
    Kind("efficientvit-l0", "assumed", 0, 3, measured="L0"),
    Kind("efficientvit-l2", "assumed", 0, 4, measured="L2"),
    Kind("efficientvit-xl1", "assumed", 0, 3, measured="XL1"),
    Kind("noisy-12x4", "assumed", 12, 4, latency_noise=0.02, loss_noise=0.12),
    Kind("noisy-30x3", "assumed", 30, 3, latency_noise=0.02, loss_noise=0.12),
    Kind("noisy-efficientvit-l1", "assumed", 0, 3, measured="L1", latency_noise=0.02, loss_noise=0.12),
    Kind("long-range-20x3", "foreign", 20, 3, loss="long_range"),
    Kind("long-range-36x4", "foreign", 36, 4, loss="long_range"),
    Kind("cancelling-16x3", "foreign", 16, 3, loss="cancelling"),
    Kind("rescued-20x4", "foreign", 20, 4, loss="rescued"),
    Kind("cliffs-24x4", "foreign", 24, 4, cliffs=True),
    Kind("network-12x3", "foreign", 12, 3, loss="network", cliffs=True),
    Kind("rough-12x4", "rough", 12, 4, loss="rough", rough=True),
    Kind("rough-20x3", "rough", 20, 3, loss="rough", rough=True),
    Kind("rough-32x4", "rough", 32, 4, loss="rough", rough=True, cliffs=True),
    Kind("shuffled-24x3", "misled", 24, 3, priors="shuffled"),
    Kind("shuffled-efficientvit-l0", "misled", 0, 3, measured="L0", priors="shuffled"),
    Kind("inverted-16x4", "misled", 16, 4, priors="inverted"),
    Kind("inverted-catastrophic-24x3", "misled", 24, 3, catastrophic=3, priors="inverted"),
)

HELD_OUT = (
    Kind("samples-18x4", "held out", 18, 4, loss="by_sample"),
    Kind("samples-28x3", "held out", 28, 3, loss="by_sample", cliffs=True, loss_noise=0.06),
    Kind("worst-15x4", "held out", 15, 4, loss="worst_few"),
    Kind("worst-25x3", "held out", 25, 3, loss="worst_few", latency_noise=0.015),
)
"""Kinds that were not used to choose any constant of a strategy."""
MAKERS = {
    "summed": summed,
    "long_range": long_range,
    "cancelling": cancelling,
    "rescued": rescued,
    "rough": rough,
    "by_sample": by_sample,
    "worst_few": worst_few,
}


class Problem:
    """One instance of a kind. Objectives are (latency in units of the reference, loss)."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.kind = kind
        self.seed = seed
        rng = np.random.default_rng([seed, *kind.name.encode()])
        published = list(SENSITIVITIES["loss_with_one_block_int8"].get(kind.measured, {}).values())
        count = len(published) or kind.blocks
        self.precisions = ALL[: kind.precisions]
        self.latency: Truth = casts_and_cliffs(
            rng, count, kind.precisions, cliffs=kind.cliffs, rough=kind.rough
        )
        damages = _damages(rng, count, kind, published)
        self.loss: Truth = (
            network(rng, count)
            if kind.loss == "network"
            else MAKERS[kind.loss](rng, damages, sub_additive=bool(published))
        )
        names = [f"block{number:02d}" for number in range(count)]
        self.blocks = tuple(Block(name=name, nodes=(), allowed=self.precisions) for name in names)
        self.anchors = np.repeat(np.arange(kind.precisions)[:, None], count, axis=1)
        self.priors = self._priors(rng)

    def truth(self, codes: NDArray[np.intp]) -> Floats:
        """Latency and loss (n, 2) of codes (n, blocks), without noise."""
        return np.column_stack((self.latency(codes), self.loss(codes)))

    def measure(self, row: Sequence[int], seed: int) -> tuple[float, float]:
        """One noisy measurement, which depends on row and seed alone."""
        # Seeded by the row, so that strategies meet equal noise in whatever order they try rows.
        rng = np.random.default_rng([self.seed, seed, *map(int, row)])
        latency, loss = self.truth(np.array([row], dtype=np.intp))[0]
        latency *= np.exp(self.kind.latency_noise * rng.standard_normal())
        loss = loss * np.exp(self.kind.loss_noise * rng.standard_normal()) + 3e-4 * abs(rng.standard_normal())
        return float(latency), float(min(loss, 1.0))

    @cached_property
    def corner(self) -> Floats:
        """The reference point: a tenth beyond the worst anchors."""
        return 1.1 * self.truth(self.anchors).max(axis=0)

    @cached_property
    def exact_priors(self) -> Priors:
        """The priors of a study that measures without error."""
        return self._told(self._alone(), self.latency.times)  # type: ignore[attr-defined]

    def _priors(self, rng: np.random.Generator) -> Priors:
        """Priors with losses of single blocks off by a third and times off by a tenth, or misleading."""
        count = len(self.blocks)
        losses = self._alone()
        losses = losses * np.exp(0.35 * rng.standard_normal(losses.shape)) + 1e-4
        losses[rng.random(count) < 0.05 * bool(self.kind.catastrophic), :] = 0.003
        times = self.latency.times * np.exp(0.1 * rng.standard_normal(losses.shape))  # type: ignore[attr-defined]
        if self.kind.priors == "shuffled":
            losses, times = losses[rng.permutation(count)], times[rng.permutation(count)]
        elif self.kind.priors == "inverted":
            losses, times = _inverted(losses), _inverted(times)
        return self._told(losses, times)

    def _alone(self) -> Floats:
        """(blocks, precisions) losses with one block alone in a precision."""
        count, kinds = len(self.blocks), len(self.precisions)
        singles = np.zeros((count, kinds, count), dtype=np.intp)
        for block in range(count):
            singles[block, :, block] = np.arange(kinds)
        return self.loss(singles.reshape(-1, count)).reshape(count, kinds)

    def _told(self, losses: Floats, times: Floats) -> Priors:
        return Priors(
            sensitivity=self._table(losses[:, 1:], self.precisions[1:]),
            latency_ms=self._table(times, self.precisions),
            reference_latency_ms=1.0,
        )

    def _table(self, figures: Floats, precisions: Sequence[str]) -> dict[str, dict[str, float]]:
        pairs = zip(self.blocks, figures.tolist(), strict=True)
        return {block.name: dict(zip(precisions, row, strict=True)) for block, row in pairs}


def _damages(rng: np.random.Generator, count: int, kind: Kind, published: Sequence[float]) -> Floats:
    """(blocks, precisions) damages: none by the reference, hardly any by FP32, some by BF16, much by INT8."""
    int8 = np.array(published) if published else np.exp(rng.normal(-4.6, 1.3, count))
    int8 = np.maximum(int8, 2e-4) * np.exp(0.1 * rng.standard_normal(count))
    int8[rng.permutation(count)[: kind.catastrophic]] = rng.uniform(0.5, 1.5, kind.catastrophic)
    fp32 = np.exp(rng.normal(-9.0, 0.5, count))
    bf16 = 0.08 * int8 ** rng.uniform(0.7, 1.1) * np.exp(0.6 * rng.standard_normal(count))
    return np.column_stack((np.zeros(count), int8, fp32, bf16))[:, : kind.precisions]


def _inverted(table: Floats) -> Floats:
    """The table with best and worst blocks exchanged, precision by precision."""
    turned = np.empty_like(table)
    for column in range(table.shape[1]):
        order = np.argsort(table[:, column])
        turned[order, column] = table[order[::-1], column]
    return turned
