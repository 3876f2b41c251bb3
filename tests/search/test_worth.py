"""What a candidate is worth, beside a plain computation, and on histories whose figures were written down."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from autoprec.records import Assignment, Block
from autoprec.search import Priors
from autoprec.search._base import RoughScore
from autoprec.search.history import History, Outcome
from autoprec.search.pool import mutants
from autoprec.search.space import Space
from autoprec.search.surrogates.acquisition import Acquisition, Draws

KINDS = ("fp32", "fp16", "int8")
BLOCKS = tuple(
    Block(name=f"b{n}", nodes=(), inputs=(f"v{n}",), outputs=(f"v{n + 1}",), allowed=KINDS[n == 3 :], macs=n)
    for n in range(8)
)
SPACE = Space(BLOCKS)
TIMES = np.outer(1 + np.arange(8), (2.0, 1.0, 0.6)) / 36
DAMAGES = np.outer(0.001 * 2.0 ** np.roll(np.arange(8), 3), (0.0, 0.02, 1.0))


SITUATIONS = ("many trials", "limits, failures and a trial that runs", "no priors", "the first trial")
ACCEPTED = dict(zip(SITUATIONS, (0.12, 0.02, 0.01, 0.02), strict=True))


def outcome(row: np.ndarray, standing: str = "measured", excess: float = 0.0) -> Outcome:
    names = [SPACE.precisions[code] for code in row]
    columns = [KINDS.index(name) for name in names]
    ms = 10 * TIMES[np.arange(8), columns].sum() + 0.1 * sum(a != b for a, b in pairwise(names))
    loss = 1 - np.exp(-DAMAGES[np.arange(8), columns].sum())
    return Outcome(tuple(row.tolist()), standing, float(ms), float(loss), excess)  # type: ignore[arg-type]


def beliefs(accepted: float) -> Priors:
    """Priors with gaps, a block that seems free, and rough scores."""
    latency = {f"b{n}": dict(zip(KINDS, (10 * TIMES[n]).tolist(), strict=True)) for n in (0, 2, 3, 6)}
    latency["b6"]["int8"] = 0.0
    damage = {f"b{n}": {"int8": float(DAMAGES[n, 2]) * 1.5} for n in (0, 1, 4, 7)}
    back = tuple(
        Assignment(choices=tuple((f"b{m}", "fp16" if m == n else "int8") for m in range(8))) for n in range(8)
    )
    rough = tuple(RoughScore(assignment=row, loss=0.1 + 0.01 * n) for n, row in enumerate(back))
    return Priors(
        sensitivity=damage, latency_ms=latency, reference_latency_ms=10, scored=rough, accepted_loss=accepted
    )


def acquired(situation: str) -> Acquisition:
    """The surrogates fitted to a history that is drawn at random, always the same."""
    rng = np.random.default_rng(3)
    rows = SPACE.draw(rng, 16)
    told = [outcome(row) for row in rows[:12]]
    priors = beliefs(ACCEPTED[situation])
    if situation == "limits, failures and a trial that runs":
        told = [
            outcome(row, excess=(40.0 if SPACE.precisions[row[7]] == "int8" else -5.0)) for row in rows[:12]
        ]
        told += [outcome(row, "failed") for row in rows[12:14]] + [outcome(rows[15], "running")]
    elif situation == "no priors":
        told, priors = told[:4], Priors()
    elif situation == "the first trial":
        told = [outcome(np.array([SPACE.precisions.index("fp16")] * 8))]
    return Acquisition(SPACE, priors, History.of(SPACE, told), np.random.default_rng(5))


def area(points: list[tuple[float, float]], corner: tuple[float, float]) -> float:
    """Area between a corner and the points that it is beyond, by strips."""
    inside, total, low = sorted(p for p in points if p[0] < corner[0] and p[1] < corner[1]), 0.0, corner[1]
    for time, loss in inside:
        total, low = total + (corner[0] - time) * max(low - loss, 0.0), min(low, loss)
    return total


@pytest.mark.parametrize("situation", SITUATIONS)
def test_worth_is_what_a_plain_computation_says(situation: str) -> None:
    fitted, accepted = acquired(situation), ACCEPTED[situation]
    codes = SPACE.draw(np.random.default_rng(8), 12)
    draws = fitted.draws(codes)
    gains, logs, chances, rises = np.zeros(12), np.zeros(12), np.zeros(12), np.zeros(12)
    fastest = []
    for number, front in enumerate(fitted._fronts):
        old, old_logs = list(map(tuple, front)), list(map(tuple, fitted._log_fronts[number]))
        corner, log_corner = tuple(fitted._corner), tuple(fitted._log_corner)
        best = min([1.0, *(time for time, loss in old if loss <= accepted)])
        fastest.append(best)
        for place in range(12):
            time, loss = draws.times[number, place], draws.losses[number, place]
            log = max(draws.logs[number, place], np.log(fitted._damages.floor))
            gain = area([*old, (time, loss)], corner) - area(old, corner)
            rise = area([*old_logs, (time, log)], log_corner) - area(old_logs, log_corner)
            gains[place] += gain / fitted._area / 24
            logs[place] += rise / fitted._log_area / 24
            chances[place] += max(best - time, 0.0) * (loss <= accepted) / 24
            rises[place] += rise / fitted._log_area * (loss <= 4 * accepted) / 24
    likely = (draws.losses <= accepted).mean(axis=0)
    near = 30 * chances / fitted._time_span * likely + rises
    assert fitted.area(draws) == pytest.approx((gains + 0.5 * logs) * draws.succeeds, abs=1e-8)
    assert fitted.speed(draws) == pytest.approx(near * draws.succeeds, abs=1e-8)
    chance = max(chances * draws.succeeds) / (1 - np.mean(fastest) + 0.02)
    assert fitted.chance(draws) == pytest.approx(chance, rel=1e-9)


def test_nothing_is_gained_by_what_fails_and_a_loss_at_the_limit_is_accepted() -> None:
    fitted = acquired("many trials")
    quick, none = np.full((24, 1), 0.1), np.full((24, 1), np.log(0.02))
    at_limit = Draws(quick, np.full((24, 1), 0.12), none, np.ones(1))
    beyond = at_limit._replace(losses=np.full((24, 1), 0.1201))
    assert fitted.chance(at_limit) > 0 == fitted.chance(beyond)
    assert fitted.area(at_limit._replace(succeeds=np.zeros(1))) == [0]


FIGURES: dict[str, dict[str, tuple[float, float]]] = {
    "many trials": {
        "times": (1.22607, 1.22205),
        "logs": (-2.841273, -2.822989),
        "succeeds": (1.0, 1.0),
        "swept": (1.287109, 1.28161),
        "corner": (0.2556332, -0.09923528),
        "fastest": (0.9486657, 0.9486657),
        "floor": (0.003018708, 0.1509354),
    },
    "limits, failures and a trial that runs": {
        "times": (1.22607, 1.22205),
        "logs": (-2.841273, -2.822989),
        "succeeds": (0.4236946, 0.3921864),
        "swept": (1.287109, 1.28161),
        "corner": (0.2556332, -0.09923528),
        "fastest": (1.0, 1.0),
        "floor": (0.003018708, 0.1509354),
    },
    "no priors": {
        "times": (0.9528456, 0.9502695),
        "logs": (-3.011423, -3.00137),
        "succeeds": (1.0, 1.0),
        "swept": (1.234375, 1.240588),
        "corner": (0.24364, -0.03106594),
        "fastest": (1.0, 1.0),
        "floor": (0.003008176, 0.1504088),
    },
    "the first trial": {
        "times": (1.110989, 1.109447),
        "logs": (-3.055323, -3.034681),
        "succeeds": (1.0, 1.0),
        "swept": (0.7949219, 0.8016322),
        "corner": (-0.4644207, -0.9006356),
        "fastest": (1.0, 1.0),
        "floor": (0.000192, 0.0096),
    },
}
"""Mean, and a mean that weighs places unevenly, of what the surrogates say of 20 assignments. The constants
behind them were chosen by `scripts/bench/search`: what moves these figures has to be measured there again."""


def told(quantity: np.ndarray) -> tuple[float, float]:
    flat = np.asarray(quantity, dtype=float).ravel()
    return float(flat.mean()), float(np.average(flat, weights=1 + np.arange(flat.size) % 17))


def figures(situation: str) -> dict[str, tuple[float, float]]:
    fitted = acquired(situation)
    codes = SPACE.draw(np.random.default_rng(9), 20)
    draws = fitted.draws(codes)
    return {
        "times": told(draws.times),
        "logs": told(draws.logs),
        "succeeds": told(draws.succeeds),
        "swept": told(fitted.swept),
        "corner": told(np.array([*fitted._corner, *fitted._log_corner, fitted._time_span])),
        "fastest": told(fitted._fastest),
        "floor": (fitted._damages.floor, fitted._damages.scale),
    }


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_surrogates_say_what_they_said_when_the_search_was_measured(situation: str) -> None:
    for name, pair in figures(situation).items():
        assert pair == pytest.approx(FIGURES[situation][name], rel=1e-5), name


def test_a_third_of_the_children_changes_about_two_and_a_half_blocks() -> None:
    space = Space(tuple(Block(name=f"b{n}", nodes=(), allowed=("fp16", "int8")) for n in range(50)))
    parents = space.codes([(0,) * 50])
    children = mutants(space, parents, np.random.default_rng(0), 9000)[::3]
    # one place for certain and 2 of 50 on average besides, where half of the draws are what was there
    assert children.sum(axis=1).mean() == pytest.approx((1 + 2 - 2 / 50) / 2, abs=0.06)
