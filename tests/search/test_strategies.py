from __future__ import annotations

from itertools import count

import pytest

from autoprec.errors import SpecError
from autoprec.records import Assignment, Block
from autoprec.search import STRATEGIES, Strategy, anchors, create_strategy
from search_records import complete, failed, outcome, running, search

BLOCKS = (
    Block(name="stem", nodes=(), allowed=("fp32", "fp16", "int8")),
    Block(name="body", nodes=(), allowed=("fp32", "fp16", "int8")),
    Block(name="norm", nodes=(), allowed=("fp32", "fp16")),
    Block(name="neck", nodes=(), allowed=("fp32", "fp16", "int8")),
    Block(name="head", nodes=(), allowed=("fp32",)),
)
LATENCY = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0}
ANCHORS = [a for _, a in anchors(BLOCKS, ("fp32", "fp16", "int8"), reference="fp16", base="fp16")]


def measure(assignment: Assignment) -> tuple[float, float]:
    latency = sum(LATENCY[precision] for _, precision in assignment.choices)
    loss = sum(0.01 * 3**n for n, (_, p) in enumerate(assignment.choices) if p == "int8")
    return latency, loss


def new(name: str, seed: int = 0) -> Strategy:
    return create_strategy(name, seed=seed, blocks=BLOCKS)


def proposed(name: str, trials: int, seed: int = 0) -> list[Assignment]:
    """Every fifth trial fails."""
    numbers = count()
    records = search(
        new(name, seed), trials, lambda a: None if next(numbers) % 5 == 4 else measure(a), ANCHORS
    )
    return [record.assignment for record in records[len(ANCHORS) :]]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_proposal_is_legal_and_in_graph_order(name: str) -> None:
    for assignment in proposed(name, 25):
        assert [block for block, _ in assignment.choices] == [block.name for block in BLOCKS]
        assert all(choice in b.allowed for b, (_, choice) in zip(BLOCKS, assignment.choices, strict=True))


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_proposes_the_same_assignments(name: str) -> None:
    assert proposed(name, 20, seed=3) == proposed(name, 20, seed=3)


@pytest.mark.parametrize("name", STRATEGIES)
def test_everything_is_proposed_once_and_then_nothing_whether_it_fails_or_not(name: str) -> None:
    blocks, numbers = BLOCKS[:2], count()
    strategy = create_strategy(name, seed=0, blocks=blocks)
    records = search(strategy, 12, lambda a: measure(a) if next(numbers) % 3 else None)
    assert len(records) == len({record.assignment for record in records}) == 9


@pytest.mark.parametrize("name", STRATEGIES)
def test_several_at_once_are_different_and_none_is_running(name: str) -> None:
    strategy = new(name)
    strategy.learn(complete(number, a, measure(a)) for number, a in enumerate(ANCHORS))
    first = strategy.propose(4)
    strategy.learn(running(len(ANCHORS) + number, a) for number, a in enumerate(first))
    second = strategy.propose(4)
    assert len({*ANCHORS, *first, *second}) == len(ANCHORS) + 8


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_ran_is_learnt_once_it_is_finished(name: str) -> None:
    strategy = new(name)
    for number in range(6):
        (assignment,) = strategy.propose()
        strategy.learn([running(number, assignment)])
        strategy.learn([outcome(number, assignment, measure(assignment) if number % 2 else None)])
    assert strategy.propose()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_second_night_does_not_replay_the_first(name: str) -> None:
    records = search(new(name), 6, measure)
    again = new(name)
    again.learn(records)
    assert not {*again.propose(6)} & {record.assignment for record in records}


@pytest.mark.parametrize("name", STRATEGIES)
def test_nothing_but_failures_is_no_obstacle(name: str) -> None:
    strategy = new(name)
    strategy.learn(failed(number, assignment) for number, assignment in enumerate(ANCHORS))
    assert not {*strategy.propose(3)} & {*ANCHORS}


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(SpecError, match="tpe"):
        create_strategy("annealing", seed=0, blocks=BLOCKS)
