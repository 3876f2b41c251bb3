from __future__ import annotations

import msgspec
import pytest

from autoprec.errors import BLAMELESS, FailureKind
from autoprec.records import Assignment, Block
from autoprec.search.history import Trials
from autoprec.search.space import Space
from search_records import complete, failed, running

BLOCKS = tuple(Block(name=name, nodes=(), allowed=("fp16", "int8")) for name in "ab")


def named(first: str, second: str) -> Assignment:
    return Assignment(choices=(("a", first), ("b", second)))


MIXED, FLOAT, INT = named("fp16", "int8"), named("fp16", "fp16"), named("int8", "int8")


def new() -> Trials:
    return Trials(Space(BLOCKS))


@pytest.mark.parametrize("kind", sorted(BLAMELESS))
def test_what_is_not_to_blame_is_not_proposed_by_itself_either(kind: FailureKind) -> None:
    trials = new()
    trials.learn([failed(0, MIXED, kind), failed(1, INT, "build")])
    history = trials.history()
    assert history.failed.tolist() == [[1, 1]]
    assert history.known == {(0, 1), (1, 1)}


def test_refined_and_reused_trials_say_nothing_of_an_assignment() -> None:
    trials, refined = new(), msgspec.structs.replace(MIXED, weights="abc")
    trials.learn(
        [
            complete(0, refined, (1.0, 0.0), "refined"),
            complete(1, FLOAT, (2.0, 0.0)),
            complete(2, FLOAT, (2.0, 0.0), "reused"),
        ]
    )
    assert trials.history().measured.tolist() == [[0, 0]]
    assert trials.history().known == {(0, 0)}


def test_a_failed_trial_is_news_only_once() -> None:
    trials = new()
    assert list(trials.learn([failed(0, INT, "build")])) == [0]
    assert trials.learn([failed(0, INT, "build")]) == {}


def test_the_last_record_of_a_number_counts() -> None:
    trials = new()
    trials.learn([running(3, MIXED)])
    assert trials.history().pending.tolist() == [[0, 1]]
    trials.learn([complete(3, MIXED, (1.0, 0.1), excess_mb=2.0)])
    history = trials.history()
    assert (history.pending.tolist(), history.measured.tolist()) == ([], [[0, 1]])
    assert (history.values.tolist(), history.excess.tolist()) == ([[1.0, 0.1]], [2.0])
    assert trials.next_number == 4


def test_a_second_measurement_is_evidence_and_a_failure_of_it_no_blame() -> None:
    trials = new()
    trials.learn(
        [complete(0, INT, (1.0, 0.1)), complete(1, INT, (3.0, 0.1), "finalist"), failed(2, INT, "timeout")]
    )
    assert len(trials.history().measured) == 2
    assert not len(trials.history().failed)


def test_what_is_no_longer_legal_is_left_out() -> None:
    trials = new()
    trials.learn([complete(0, named("fp8", "int8"), (1.0, 0.1)), complete(1, INT, (float("nan"), 0.1))])
    assert not len(trials.history().measured)
    assert trials.history().known == {(1, 1)}
