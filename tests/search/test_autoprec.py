from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from autoprec.records import Assignment, Block
from autoprec.search import AutoprecSampler, Priors, anchors, create_sampler, propose
from autoprec.search.fronts import hypervolume

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
Measured = tuple[float, float] | None


def measure(assignment: Assignment) -> tuple[float, float]:
    names = [precision for _, precision in assignment.choices]
    casts = sum(a != b for a, b in pairwise(names))
    loss = 1.0 - np.exp(-sum(d for d, name in zip(DAMAGE, names, strict=True) if name == "int8"))
    return sum(SPEED[name] for name in names) + 0.1 * casts, float(loss)


def priors(order: np.ndarray) -> Priors:
    tables = {b.name: {"fp32": 0.0, "int8": float(DAMAGE[i])} for b, i in zip(BLOCKS, order, strict=True)}
    return Priors(sensitivity=tables, latency_ms={b.name: SPEED for b in BLOCKS}, reference_latency_ms=COUNT)


def new_study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    for _, anchor in anchors(BLOCKS, tuple(SPEED), reference="fp16", base="fp16"):
        study.enqueue_trial(anchor.as_dict())
    return study


def search(study: optuna.Study, trials: int, measured: Callable[[Assignment], Measured] = measure) -> None:
    for _ in range(trials):
        trial, assignment = propose(study, BLOCKS)
        values = measured(assignment)
        study.tell(trial, values) if values else study.tell(trial, state=TrialState.FAIL)


def area(study: optuna.Study) -> float:
    values = np.array([trial.values for trial in study.trials if trial.values])
    return hypervolume(values, np.array([2.0 * COUNT, 1.0]))


def tried(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [tuple(trial.params[block.name] for block in BLOCKS) for trial in study.trials]


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_it_finds_more_than_tpe_whether_priors_are_honest_or_not(order: np.ndarray) -> None:
    ours = new_study(AutoprecSampler(BLOCKS, seed=1, priors=priors(order)))
    other = new_study(create_sampler("tpe", seed=1, blocks=BLOCKS))
    search(ours, 25)
    search(other, 25)
    assert area(ours) > area(other)


def test_nothing_is_proposed_twice() -> None:
    study = new_study(AutoprecSampler(BLOCKS, seed=2))
    search(study, 30)
    assert len(set(tried(study))) == 30


def test_running_trials_count_as_known() -> None:
    study = new_study(AutoprecSampler(BLOCKS, seed=3, priors=priors(np.arange(COUNT))))
    search(study, 3)
    for _ in range(6):
        propose(study, BLOCKS)
    waiting = {row for row, trial in zip(tried(study), study.trials, strict=True) if not trial.values}
    assert len(waiting) == 6
    assert len({row.count("int8") for row in waiting}) > 2


def test_a_resumed_study_goes_on_as_if_it_had_never_stopped() -> None:
    first, second = (new_study(AutoprecSampler(BLOCKS, seed=4)) for _ in range(2))
    search(first, 8)
    for _ in range(8):
        second.sampler = create_sampler("autoprec", seed=4, blocks=BLOCKS, trials=len(second.trials))
        search(second, 1)
    assert tried(first) == tried(second)


def test_a_setting_that_makes_builds_fail_is_soon_left_alone() -> None:
    study = new_study(AutoprecSampler(BLOCKS, seed=5, priors=priors(np.arange(COUNT))))
    search(study, 30, lambda a: None if a.choices[3][1] == "int8" else measure(a))
    failures = [trial.state == TrialState.FAIL for trial in study.trials]
    assert sum(failures) <= 6
    assert sum(failures[15:]) <= 2


def test_what_breaks_a_limit_is_soon_left_alone() -> None:
    study = new_study(AutoprecSampler(BLOCKS, seed=5, priors=priors(np.arange(COUNT))))
    for _ in range(40):
        trial, assignment = propose(study, BLOCKS)
        wide = sum(2 * (name == "fp32") + (name != "int8") for _, name in assignment.choices)
        trial.set_constraint("memory", wide - COUNT / 2)  # at least half of the blocks must be INT8
        study.tell(trial, measure(assignment))
    late = study.trials[20:]
    assert sum(trial.constraints["memory"] > 0 for trial in late) <= 5
    assert study.best_trials
    assert all(trial.constraints["memory"] <= 0 for trial in study.best_trials)


def test_an_exhausted_space_ends_in_repeats_and_not_in_an_error() -> None:
    blocks = BLOCKS[:2]
    study = optuna.create_study(directions=["minimize"] * 2, sampler=AutoprecSampler(blocks, seed=6))
    found = []
    for number in range(12):
        trial, assignment = propose(study, blocks)
        found.append(assignment)
        study.tell(trial, (1.0 + number % 4, 0.1))
    assert len(set(found[:9])) == len(set(found)) == 9


def test_it_serves_an_ordinary_optuna_objective() -> None:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=AutoprecSampler(BLOCKS, seed=7))

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        choices = tuple((b.name, trial.suggest_categorical(b.name, b.allowed)) for b in BLOCKS)
        trial.suggest_categorical("unrelated", ("x", "y"))
        return measure(Assignment(choices=choices))

    study.optimize(objective, n_trials=6)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)


def test_losses_all_zero_and_priors_with_gaps_are_no_obstacle() -> None:
    gaps = Priors(
        sensitivity={"b00": {"int8": float("nan")}, "b05": {"int8": 0.1}}, latency_ms={"b01": {"int8": -1.0}}
    )
    study = new_study(AutoprecSampler(BLOCKS, seed=8, priors=gaps))
    search(study, 8, lambda a: (measure(a)[0], 0.0))
    assert len(set(tried(study))) == 8
