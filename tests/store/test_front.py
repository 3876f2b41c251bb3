"""The front's table equals the front of the trials, after any sequence of trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprec.records import TrialRecord
from autoprec.search.finalists import pooled
from autoprec.store import Store, pareto
from trial_records import BLOCKS, IDENTITY, complete, failed, running

VALUE = st.one_of(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.floats(min_value=1e-6))
MADE = st.tuples(
    st.sampled_from(["complete", "failed", "wrong", "running", "reused"]), VALUE, VALUE, st.integers(0, 4)
)


def numbers(trials: tuple[TrialRecord, ...]) -> list[int]:
    return [trial.number for trial in trials]


def make(number: int, kind: str, latency_ms: float, loss: float, choice: int) -> TrialRecord:
    choices = f"int8 x{choice}"
    if kind in ("failed", "wrong"):
        return failed(number, choices=choices, kind="wrong" if kind == "wrong" else "build")
    if kind == "running":
        return running(number, choices=choices)
    reused_from = 0 if kind == "reused" else None
    return complete(number, latency_ms, loss, choices=choices, reused_from=reused_from)


def beaten(trial: TrialRecord, others: list[TrialRecord]) -> bool:
    """By the definition: another is equal and earlier, or no worse in both and better in one."""
    for other in others:
        equal = (other.latency_ms, other.loss) == (trial.latency_ms, trial.loss)
        no_worse = other.latency_ms <= trial.latency_ms and other.loss <= trial.loss
        if (other.number < trial.number) if equal else no_worse:
            return True
    return False


@settings(max_examples=15, deadline=None)
@given(st.lists(MADE, max_size=14), st.randoms(use_true_random=False))
def test_the_table_equals_the_recomputed_front(
    place: Callable[[], Path | str], made: list[tuple[str, float, float, int]], random: Random
) -> None:
    trials = [make(number, *kind) for number, kind in enumerate(made)]
    random.shuffle(trials)
    with Store.open(place()) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        for trial in trials:
            (store.begin if trial.state == "running" else store.finish)(trial)
            assert store.front("demo") == pareto(store.trials("demo"))


@given(st.lists(MADE, max_size=14))
def test_the_front_is_what_nothing_beats(made: list[tuple[str, float, float, int]]) -> None:
    trials = [make(number, *kind) for number, kind in enumerate(made)]
    latest: dict[str, TrialRecord] = {}
    for trial in trials:
        measured = trial.state == "complete" and trial.reused_from is None
        if measured and max(trial.latency_ms, trial.loss) < float("inf"):
            latest[trial.assignment.digest] = trial
    wrong = {t.assignment for t in trials if t.failure is not None and t.failure.kind == "wrong"}
    counting = [trial for trial in latest.values() if trial.assignment not in wrong]
    wanted = {trial.number for trial in counting if not beaten(trial, counting)}
    assert set(numbers(pareto(trials))) == wanted


def test_of_equal_points_the_earliest_is_on_the_front() -> None:
    twins = (complete(1, 5, 0.1, choices="int8 a"), complete(0, 5, 0.1, choices="int8 b"))
    assert numbers(pareto(twins)) == [0]


def test_the_latest_measurement_of_an_assignment_counts() -> None:
    lucky, rival = complete(0, 4, 0.1, choices="int8 a"), complete(1, 5, 0.1, choices="int8 b")
    again = complete(2, 6, 0.1, choices="int8 a", origin="finalist")
    assert numbers(pareto((lucky, rival))) == [0]
    assert numbers(pareto((lucky, rival, again))) == [1]


def test_a_reused_measurement_leaves_the_trial_that_measured_on_the_front() -> None:
    assert numbers(pareto((complete(0, 5, 0.1), complete(1, 5, 0.1, reused_from=0)))) == [0]


def test_a_trial_over_a_limit_is_on_no_front(where: Path | str) -> None:
    over = msgspec.structs.replace(complete(1, 1.0, 0.0, choices="int8 int8"), excess_mb=0.5)
    with Store.open(where) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        for trial in (complete(0, 2.0, 0.1), over):
            store.finish(trial)
        assert numbers(store.front("demo")) == numbers(pareto(store.trials("demo"))) == [0]


def test_an_assignment_that_the_engine_is_wrong_on_leaves_the_front(tmp_path: Path) -> None:
    with Store.open(tmp_path / "study.db") as store:
        store.bind("demo", IDENTITY, BLOCKS)
        for trial in (complete(0, 5.0, 0.01), complete(1, 9.0, 0.02, choices="fp16 fp16")):
            store.finish(trial)
        assert numbers(store.front("demo")) == [0]
        store.finish(failed(2, kind="wrong"))
        assert numbers(store.front("demo")) == [1]
        assert pooled(store.trials("demo")).keys() == {store.trial("demo", 1).assignment}
