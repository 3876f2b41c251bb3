from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from autoprec.records import Assignment, Block, TrialRecord
from autoprec.search import Priors, anchors, create_strategy
from autoprec.search.fronts import hypervolume
from autoprec.search.history import History, Outcome
from autoprec.search.space import Space
from autoprec.search.strategies.autoprec import AutoprecStrategy
from autoprec.search.subset import MOST, subset
from search_records import complete, running, search

COUNT = 14
BLOCKS = tuple(Block(name=f"b{n:02d}", nodes=(), allowed=("fp32", "fp16", "int8")) for n in range(COUNT))
SPEED = {"fp32": 2.0, "fp16": 1.0, "int8": 0.5}
DAMAGE = 0.002 * 1.45 ** np.random.default_rng(7).permutation(COUNT)
RISING = np.argsort(DAMAGE)
ORDERS = {
    "honest": np.arange(COUNT),
    "shuffled": np.roll(np.arange(COUNT), 5),
    "inverted": RISING[::-1][np.argsort(RISING)],
}


def measure(assignment: Assignment) -> tuple[float, float]:
    names = [precision for _, precision in assignment.choices]
    casts = sum(a != b for a, b in pairwise(names))
    loss = 1.0 - np.exp(-sum(d for d, name in zip(DAMAGE, names, strict=True) if name == "int8"))
    return sum(SPEED[name] for name in names) + 0.1 * casts, float(loss)


def priors(order: np.ndarray) -> Priors:
    tables = {b.name: {"fp32": 0.0, "int8": float(DAMAGE[i])} for b, i in zip(BLOCKS, order, strict=True)}
    return Priors(sensitivity=tables, latency_ms={b.name: SPEED for b in BLOCKS}, reference_latency_ms=COUNT)


ANCHORS = [a for _, a in anchors(BLOCKS, tuple(SPEED), reference="fp16", base="fp16")]


def new(seed: int, given: Priors | None = None) -> AutoprecStrategy:
    return AutoprecStrategy(BLOCKS, seed=seed, priors=given)


def area(records: Sequence[TrialRecord]) -> float:
    values = np.array([(r.latency_ms, r.loss) for r in records if r.state == "complete"])
    return hypervolume(values, np.array([2.0 * COUNT, 1.0]))


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(order, id=name, marks=[pytest.mark.slow] * (number > 0))
        for number, (name, order) in enumerate(ORDERS.items())
    ],
)
def test_it_finds_more_than_tpe_whether_priors_are_honest_or_not(order: np.ndarray) -> None:
    other = create_strategy("tpe", seed=1, blocks=BLOCKS)
    ours = search(new(1, priors(order)), 22, measure, ANCHORS)
    assert area(ours) > area(search(other, 22, measure, ANCHORS))


def test_running_trials_count_as_measured_at_what_is_expected() -> None:
    strategy = new(3, priors(np.arange(COUNT)))
    strategy.learn(complete(number, a, measure(a)) for number, a in enumerate(ANCHORS))
    one_by_one = list[Assignment]()
    for number in range(3, 9):
        one_by_one += strategy.propose()
        strategy.learn([running(number, one_by_one[-1])])
    spread = {sum(precision == "int8" for _, precision in a.choices) for a in one_by_one}
    assert len(set(one_by_one)) == 6
    assert len(spread) > 2


def test_several_at_once_spread_over_the_front() -> None:
    strategy = new(3, priors(np.arange(COUNT)))
    strategy.learn(complete(number, a, measure(a)) for number, a in enumerate(ANCHORS))
    losses = sorted(measure(a)[1] for a in strategy.propose(6))
    assert losses[-1] > 20 * losses[0]


def test_a_resumed_study_proposes_as_if_it_had_never_stopped() -> None:
    whole = search(new(4), 8, measure, ANCHORS)
    resumed = new(4)
    resumed.learn(whole[:6])
    assert resumed.propose() == (whole[6].assignment,)


def test_a_setting_that_makes_builds_fail_is_soon_left_alone() -> None:
    strategy = new(5, priors(np.arange(COUNT)))
    records = search(strategy, 27, lambda a: None if a.choices[3][1] == "int8" else measure(a), ANCHORS)
    failures = [record.state == "failed" for record in records]
    assert sum(failures) <= 6
    assert sum(failures[15:]) <= 2


def test_what_breaks_a_limit_is_soon_left_alone() -> None:
    strategy, records = new(5, priors(np.arange(COUNT))), list[TrialRecord]()
    for number in range(40):
        assignment = ANCHORS[number] if number < len(ANCHORS) else strategy.propose()[0]
        wide = sum(2 * (name == "fp32") + (name != "int8") for _, name in assignment.choices)
        excess = wide - COUNT / 2  # at least half of the blocks must be INT8
        records.append(complete(number, assignment, measure(assignment), excess_mb=excess))
        strategy.learn(records[-1:])
    assert sum(record.excess_mb > 0 for record in records[20:]) <= 7


def test_losses_all_zero_and_priors_with_gaps_are_no_obstacle() -> None:
    gaps = Priors(
        sensitivity={"b00": {"int8": float("nan")}, "b05": {"int8": 0.1}}, latency_ms={"b01": {"int8": -1.0}}
    )
    assert len(search(new(8, gaps), 8, lambda a: (measure(a)[0], 0.0))) == 8


def test_most_trials_stay_near_the_accepted_loss_and_some_do_not() -> None:
    changed = msgspec.structs.replace(priors(np.arange(COUNT)), accepted_loss=0.05)
    records = search(new(9, changed), 24, measure, ANCHORS)
    near = [record.loss <= 4 * 0.05 for record in records[len(ANCHORS) :]]
    assert 0.5 < np.mean(near) < 1.0


def test_ten_thousand_trials_are_fitted_by_a_few() -> None:
    codes = Space(BLOCKS).draw(np.random.default_rng(0), 3000)
    history = History.of(
        Space(BLOCKS),
        [
            Outcome(tuple(row), "measured", float(n % 97) + 1, float(n % 89) / 89, 0.0)
            for n, row in enumerate(codes.tolist())
        ],
    )
    kept = subset(history, 0.05)
    assert len(kept) == len(set(kept.tolist())) == MOST
    assert set(np.flatnonzero(history.front)) <= set(kept.tolist())
    assert (np.abs(history.values[kept, 1] - 0.05) < 0.02).mean() > 0.2
