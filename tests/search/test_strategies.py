from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from autoprec.errors import SpecError
from autoprec.records import Assignment, Block
from autoprec.search import STRATEGIES, anchors, create_sampler, propose

BLOCKS = (
    Block(name="stem", nodes=(), allowed=("fp32", "fp16", "int8")),
    Block(name="body", nodes=(), allowed=("fp32", "fp16", "int8")),
    Block(name="norm", nodes=(), allowed=("fp32", "fp16")),
    Block(name="neck", nodes=(), allowed=("fp32", "fp16", "int8")),
    Block(name="head", nodes=(), allowed=("fp32",)),
)
LATENCY = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0}


def measure(assignment: Assignment) -> tuple[float, float]:
    latency = sum(LATENCY[precision] for _, precision in assignment.choices)
    loss = sum(0.01 * 3**n for n, (_, p) in enumerate(assignment.choices) if p == "int8")
    return latency, loss


def new_study(strategy: str, seed: int = 0) -> optuna.Study:
    sampler = create_sampler(strategy, seed=seed, blocks=BLOCKS)
    return optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)


def search(strategy: str, trials: int, seed: int = 0) -> list[Assignment]:
    study, found = new_study(strategy, seed), []
    for _, anchor in anchors(BLOCKS, ("fp32", "fp16", "int8"), reference="fp16", base="fp16"):
        study.enqueue_trial(anchor.as_dict())
    for number in range(trials):
        trial, assignment = propose(study, BLOCKS)
        found.append(assignment)
        if number % 5 == 4:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, measure(assignment))
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_proposal_is_legal_and_in_graph_order(strategy: str) -> None:
    for assignment in search(strategy, 25):
        assert [name for name, _ in assignment.choices] == [block.name for block in BLOCKS]
        assert all(choice in b.allowed for b, (_, choice) in zip(BLOCKS, assignment.choices, strict=True))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_proposes_the_same_assignments(strategy: str) -> None:
    assert search(strategy, 20, seed=3) == search(strategy, 20, seed=3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_queued_anchors_come_first(strategy: str) -> None:
    expected = [a for _, a in anchors(BLOCKS, ("fp32", "fp16", "int8"), reference="fp16", base="fp16")]
    assert search(strategy, 3) == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_workers_may_ask_before_others_tell(strategy: str) -> None:
    study = new_study(strategy)
    asked = [propose(study, BLOCKS) for _ in range(4)]
    for trial, assignment in asked:
        study.tell(trial, measure(assignment))
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_second_night_does_not_replay_the_first(strategy: str) -> None:
    study = new_study(strategy)
    first = [propose(study, BLOCKS)[1] for _ in range(6)]
    study.sampler = create_sampler(strategy, seed=0, blocks=BLOCKS, trials=len(study.trials))
    assert [propose(study, BLOCKS)[1] for _ in range(6)] != first


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(SpecError, match="tpe"):
        create_sampler("annealing", seed=0, blocks=BLOCKS)
