"""What the surrogates believe, figure by figure: a change of these is a change of the search.

They come from the code as `scripts/bench/search` measured it: take new ones together with a new measurement.
"""

from __future__ import annotations

import numpy as np
import pytest

from autoprec.records import Block
from autoprec.search.history import History, Outcome
from autoprec.search.space import Space
from autoprec.search.surrogates.damage import DamageModel, Rough
from autoprec.search.surrogates.gaussian import Mixture
from autoprec.search.surrogates.latency import LatencyModel
from autoprec.search.surrogates.limits import Limits

ALL = ("fp32", "fp16", "int8")
SPACE = Space(
    [
        Block(name="a", nodes=(), inputs=("x",), outputs=("a",), allowed=ALL, macs=50),
        Block(name="b", nodes=(), inputs=("a",), outputs=("b",), allowed=ALL, macs=30),
        Block(name="c", nodes=(), inputs=("b",), outputs=("c",), allowed=ALL[:2], macs=15),
        Block(name="d", nodes=(), inputs=("a",), outputs=("d",), allowed=ALL, macs=5),
    ]
)
nan = np.nan
PROFILE = np.array([[0.6, 0.4, 0.2], [0.4, 0.3, 0.25], [0.2, 0.15, nan], [nan, 0.1, 0.05]])
ALONE = np.array([[nan, 0.001, 0.05], [nan, 0.002, 0.2], [nan, 0.0005, nan], [nan, 0.0001, 0.01]])
BLIND = np.full((4, 3), nan)
CODES = SPACE.codes([(0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 1, 2), (2, 1, 1, 1), (1, 2, 0, 1)])
RATIOS = np.array([1.9, 1.0, 0.62, 0.78, 0.99])
LOSSES = np.array([0, 0.003, 0.28, 0.06, 0.21])
ASKED = SPACE.codes([(2, 1, 1, 2), (1, 1, 0, 2), (2, 2, 0, 0)])


def believed(mixture: Mixture) -> list[float]:
    """Means, the likeliest hypothesis's standard deviations, and the weights of all."""
    return [*mixture.mean(ASKED), *mixture.members[0].predict(ASKED)[1], *mixture.weights]


@pytest.mark.parametrize(
    ("profile", "figures"),
    [
        (
            PROFILE,
            [
                0.7541908,
                1.127626,
                0.8998071,
                0.0350303,
                0.05888394,
                0.06400566,
                0.2556086,
                0.2531799,
                0.2457242,
                0.2454873,
            ],
        ),
        (
            BLIND,
            [
                0.7554077,
                1.141115,
                0.9145214,
                0.08017048,
                0.1440513,
                0.1133379,
                0.254923,
                0.2520377,
                0.2487912,
                0.2442481,
            ],
        ),
    ],
)
def test_latencies_are_believed_as_they_were(profile: np.ndarray, figures: list[float]) -> None:
    assert believed(LatencyModel(SPACE, profile).fit(CODES, RATIOS)) == pytest.approx(figures, rel=1e-4)


ROUGH = Rough(SPACE.codes([(0, 2, 1, 1)]), np.array([0.15]), np.array([0.5]))


@pytest.mark.parametrize(
    ("alone", "rough", "figures"),
    [
        (
            ALONE,
            None,
            [
                -2.617836,
                -4.17712,
                -1.296551,
                0.1613275,
                0.4696034,
                0.1454171,
                0.4540133,
                0.2860598,
                0.1564368,
                0.1034901,
            ],
        ),
        (
            ALONE,
            ROUGH,
            [
                -2.610506,
                -4.166166,
                -1.300781,
                0.1595401,
                0.4682447,
                0.1455967,
                0.4641587,
                0.2798925,
                0.1563677,
                0.09958117,
            ],
        ),
        (
            BLIND,
            None,
            [
                -2.374572,
                -3.367819,
                -1.327786,
                0.4005871,
                1.030109,
                0.1806054,
                0.2730949,
                0.2704725,
                0.230251,
                0.2261817,
            ],
        ),
    ],
)
def test_losses_are_believed_as_they_were(
    alone: np.ndarray, rough: Rough | None, figures: list[float]
) -> None:
    fit = DamageModel(SPACE, alone).fit(CODES, LOSSES, rough)
    assert fit.floor == pytest.approx(0.0056)
    assert fit.scale == 0.28
    assert believed(fit.mixture) == pytest.approx(figures, rel=1e-4)


def test_costs_of_blocks_and_of_casts_are_told_apart() -> None:
    model = LatencyModel(SPACE, PROFILE)
    blocks, casts = model.costs(model.fit(CODES, RATIOS).members[0].weights)
    assert blocks[0] == pytest.approx([0.795433, 0.431549, 0.231515], rel=1e-4)
    assert blocks[3] == pytest.approx([0.177058, 0.084028, 0.051414], rel=1e-4)
    assert casts.shape == (3, 3, 3)
    assert casts[0].ravel() == pytest.approx(
        [0, 0.004123, 0.004123, 0.004123, 0, -0.00417, -0.00417, -0.009362, 0], abs=2e-6
    )


def test_limits_are_believed_as_they_were() -> None:
    excess = (-3.0, -1.0, 2.0, 0.5, -0.2)
    rows = [tuple(row) for row in CODES.tolist()]
    told = History.of(
        SPACE, [Outcome(row, "measured", 1, 0.1, more) for row, more in zip(rows, excess, strict=True)]
    )
    probabilities = Limits(SPACE, told).probability(ASKED)
    assert probabilities == pytest.approx([0.9527489, 0.2541559, 0.7214678], rel=1e-4)
