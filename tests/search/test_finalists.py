from __future__ import annotations

from autoprec.records import Assignment, Interval, Origin, TrialRecord, surely_dominated
from autoprec.search import affordable, finalists
from search_records import complete


def trial(name: str, latency_ms: float, loss: float, origin: Origin = "search") -> TrialRecord:
    return complete(0, named(name), (latency_ms, loss), origin)


def named(name: str) -> Assignment:
    return Assignment(choices=(("block", name),))


def test_the_point_that_gains_most_on_the_front_is_checked_first() -> None:
    trials = [
        trial("slow", 10, 0.0),
        trial("lucky", 6, 0.01),
        trial("close", 5.9, 0.05),
        trial("fast", 5, 0.1),
    ]
    assert finalists(trials, 1) == (named("lucky"),)


def test_the_fastest_within_the_accepted_loss_and_its_rivals_are_checked_before_the_front() -> None:
    trials = [trial("reference", 10, 0.0), trial("lucky", 6, 0.01), trial("steady", 6.1, 0.01)]
    trials += [trial("slow", 7, 0.01), trial("ruined", 4, 0.5)]
    assert finalists(trials, 2, accepted_loss=0.01) == (named("lucky"), named("steady"))
    again = [trial("lucky", 6.4, 0.01, "finalist")]
    assert finalists([*trials, *again], 2, accepted_loss=0.01) == (named("steady"), named("lucky"))
    often = [trial(name, 6.2, 0.01, "finalist") for name in ("lucky", "steady") for _ in range(2)]
    assert finalists([*trials, *often], 1, accepted_loss=0.01) == (named("ruined"),)


def test_what_lies_slightly_above_the_accepted_loss_may_fall_below_it_when_measured_again() -> None:
    trials = [trial("reference", 10, 0.0), trial("fast", 5, 0.0103), trial("slow", 6, 0.01)]
    assert finalists(trials, 1, accepted_loss=0.01) == (named("fast"),)
    trials[1] = trial("fast", 5, 0.0106)
    assert finalists(trials, 1, accepted_loss=0.01) == (named("slow"),)


def test_a_short_run_measures_fewer_again() -> None:
    assert [affordable(3, trials) for trials in (0, 25, 33, 41, 50, 500)] == [0, 0, 1, 2, 3, 3]


def test_what_is_behind_the_front_comes_after_all_of_the_front() -> None:
    trials = [trial("hidden", 7, 0.02), trial("a", 10, 0.0), trial("b", 6, 0.01)]
    assert set(finalists(trials, 2)) == {named("a"), named("b")}
    assert finalists(trials, 3)[2] == named("hidden")


def test_what_was_measured_again_gives_way_to_what_was_not() -> None:
    trials = [trial("a", 10, 0.0), trial("b", 6, 0.01), trial("c", 5, 0.1)]
    assert finalists([*trials, trial("b", 6.2, 0.01, "finalist")], 3, accepted_loss=0.001)[-1] == named("b")


def test_a_second_measurement_can_take_a_lucky_one_off_the_front() -> None:
    trials = [trial("lucky", 5, 0.05), trial("steady", 6, 0.04), trial("lucky", 9, 0.05, "finalist")]
    assert finalists(trials, 1) == (named("steady"),)


def test_reused_measurements_are_not_evidence_of_their_own() -> None:
    trials = [trial("a", 10, 0.0), trial("a", 10, 0.0, "reused"), trial("b", 5, 0.1)]
    assert set(finalists(trials, 9)) == {named("a"), named("b")}
    assert finalists([], 3) == ()


def test_a_candidate_is_dropped_only_when_even_its_best_is_worse() -> None:
    front = [(Interval(low=4.9, high=5.0), Interval(low=0.01, high=0.02))]
    assert surely_dominated(Interval(low=5.1, high=5.2), Interval(low=0.03, high=0.2), front)
    assert not surely_dominated(Interval(low=5.1, high=5.2), Interval(low=0.015, high=0.2), front)
    assert not surely_dominated(Interval(low=4.8, high=5.2), Interval(low=0.03, high=0.2), front)
    assert not surely_dominated(Interval(low=9.0, high=9.1), Interval(low=0.9, high=1.0), [])
