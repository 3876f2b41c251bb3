from __future__ import annotations

import numpy as np
import pytest

from autoprec.records import Block
from autoprec.search.space import Space
from autoprec.search.surrogates.damage import DamageModel, Rough
from autoprec.search.surrogates.latency import LatencyModel

BLOCKS = tuple(Block(name=f"b{n}", nodes=(), allowed=("fp16", "int8")) for n in range(10))
SPACE = Space(BLOCKS)
UNKNOWN = np.full((10, 2), np.nan)
TIMES = np.column_stack((np.full(10, 0.1), np.linspace(0.03, 0.09, 10)))


def measured_times(codes: np.ndarray, cast: float) -> np.ndarray:
    return np.asarray(TIMES[np.arange(10), codes].sum(axis=1) + cast * SPACE.crossings(codes).sum(axis=1))


def measured_losses(codes: np.ndarray, damages: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 - np.exp(-(codes * damages).sum(axis=1)))


def test_latency_starts_from_the_profiles() -> None:
    reference = np.zeros((1, 10), dtype=int)
    fit = LatencyModel(SPACE, TIMES).fit(reference, np.array([1.0]))
    faster = np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]])
    assert fit.mean(faster)[0] < min(1.0, fit.mean(faster)[1])


def test_latency_learns_what_type_changes_cost() -> None:
    codes = SPACE.draw(np.random.default_rng(0), 40)
    fit = LatencyModel(SPACE, TIMES).fit(codes, measured_times(codes, cast=0.03))
    checkered, halves = np.arange(10)[None] % 2, (np.arange(10)[None] > 4).astype(int)
    truth = measured_times(np.vstack((checkered, halves)), cast=0.03)
    assert np.allclose(fit.mean(np.vstack((checkered, halves))), truth, atol=0.02)


def test_profiles_that_mislead_lose_their_weight() -> None:
    codes = SPACE.draw(np.random.default_rng(1), 40)
    times = measured_times(codes, cast=0.0)
    upside_down = np.column_stack((TIMES[:, 0], TIMES[::-1, 1]))
    unseen = SPACE.draw(np.random.default_rng(2), 20)
    fit = LatencyModel(SPACE, upside_down).fit(codes, times)
    assert np.abs(fit.mean(unseen) - measured_times(unseen, cast=0.0)).max() < 0.02


def test_without_profiles_a_block_slow_in_one_precision_is_taken_to_be_slow_in_others() -> None:
    space = Space([Block(name=f"b{n}", nodes=(), allowed=("fp32", "fp16", "int8")) for n in range(4)])
    model = LatencyModel(space, np.full((4, 3), np.nan))
    rows = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    fits = (model.fit(rows, np.array([1.0, 1.0, seen])) for seen in (0.8, 1.2))
    quick, slow = (model.costs(fit.members[0].weights)[0][0, 2] for fit in fits)
    assert slow > quick + 0.02


def test_losses_are_learned_across_two_decades() -> None:
    damages = np.logspace(-3, -0.5, 10)
    codes = SPACE.draw(np.random.default_rng(3), 50)
    fit = DamageModel(SPACE, UNKNOWN).fit(codes, measured_losses(codes, damages))
    unseen = SPACE.draw(np.random.default_rng(4), 30)
    truth = measured_losses(unseen, damages)
    predicted = fit.losses(fit.mixture.mean(unseen))
    assert np.corrcoef(np.log(predicted + 0.002), np.log(truth + 0.002))[0, 1] > 0.97


def test_the_floor_follows_the_accepted_loss_within_bounds() -> None:
    codes = SPACE.draw(np.random.default_rng(3), 20)
    losses = np.linspace(0.0, 0.8, 20)
    floors = [DamageModel(SPACE, UNKNOWN, accepted).fit(codes, losses).floor for accepted in (0.0, 0.01, 0.3)]
    assert floors == pytest.approx([0.0016, 0.005, 0.016])


def test_uncertainty_shrinks_where_something_was_measured() -> None:
    codes = SPACE.draw(np.random.default_rng(5), 15)
    fit = DamageModel(SPACE, UNKNOWN).fit(codes, measured_losses(codes, np.logspace(-3, -0.5, 10)))
    far = 1 - codes[:1]
    _, sd = fit.mixture.members[0].predict(np.vstack((codes[:1], far)))
    assert sd[0] < 0.5 * sd[1]


def test_a_loss_that_adds_nothing_up_is_still_interpolated() -> None:
    codes = SPACE.draw(np.random.default_rng(6), 30)
    losses = np.where(codes.sum(axis=1) % 2, 0.4, 0.01)
    fit = DamageModel(SPACE, UNKNOWN).fit(codes, losses)
    predicted = fit.losses(fit.mixture.mean(codes))
    assert predicted[losses == 0.4].min() > predicted[losses == 0.01].max()


def test_neighbours_are_the_blocks_that_share_a_value() -> None:
    blocks = (
        Block(name="a", nodes=(), outputs=("x",), allowed=("fp16",)),
        Block(name="b", nodes=(), inputs=("x",), outputs=("y",), allowed=("fp16",)),
        Block(name="c", nodes=(), inputs=("x", "y"), allowed=("fp16",)),
    )
    assert Space(blocks).edges.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert SPACE.edges.tolist() == [[n, n + 1] for n in range(9)]


def test_rough_losses_of_one_block_back_in_float_teach_the_order_of_blocks() -> None:
    damages = np.logspace(-3, -1.5, 10)
    everything = np.ones((1, 10), dtype=int)
    back = everything - np.eye(10, dtype=int)
    rough = Rough(back, measured_losses(back, damages), np.full(10, 0.1))
    measured = np.vstack((everything, 0 * everything))
    half = np.vstack((np.arange(10) < 5, np.arange(10) >= 5)).astype(int)
    fit = DamageModel(SPACE, UNKNOWN).fit(measured, measured_losses(measured, damages), rough)
    harmless, harmful = fit.losses(fit.mixture.mean(half))
    assert harmless < 0.5 * harmful
    assert abs(fit.losses(fit.mixture.mean(everything))[0] - measured_losses(everything, damages)[0]) < 0.01


def test_what_looks_best_in_noisy_profiles_is_not_believed() -> None:
    rng = np.random.default_rng(0)
    space = Space([Block(name=f"b{n}", nodes=(), allowed=("fp16", "int8")) for n in range(40)])
    profile = np.array([1.0, 0.9]) / 40 * np.exp(0.1 * rng.standard_normal((40, 2)))
    best = (profile[:, 1] < np.median(profile[:, 1] / profile[:, 0]) * profile[:, 0]).astype(np.intp)[None]
    fit = LatencyModel(space, profile).fit(np.array([[0] * 40, [1] * 40]), np.array([1.0, 0.9]))
    claimed = profile[np.arange(40), best[0]].sum() / profile[:, 0].sum()
    truth = 1.0 - 0.1 * best.mean()
    casts = 0.2 / 40 * space.crossings(best).sum()
    assert abs(float(fit.mean(best)[0]) - casts - truth) < 0.5 * abs(claimed - truth)
