"""The front's table equals the front of the trials, after any sequence of trials."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprec.records import Interval, LiveFront, TrialRecord, as_counted, counting
from autoprec.search.finalists import pooled
from autoprec.store import Store, examine, pareto
from autoprec.store._front import update_fronts
from store_places import rows
from trial_records import BLOCKS, IDENTITY, complete, failed, running

VALUE = st.one_of(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.floats(min_value=1e-6, max_value=1e9))
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
    place: Callable[[], Path | str], points: list[tuple[str, float, float, int]], random: Random
) -> None:
    trials = [make(number, *kind) for number, kind in enumerate(points)]
    random.shuffle(trials)
    live = LiveFront()
    with Store.open(place()) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        for trial in trials:
            (store.begin if trial.state == "running" else store.finish)(trial)
            live.add(trial)
            assert store.front("demo") == pareto(store.trials("demo")) == live.trials


@given(st.lists(MADE, max_size=14))
def test_the_front_is_what_nothing_beats(points: list[tuple[str, float, float, int]]) -> None:
    counts = list(counting(make(number, *kind) for number, kind in enumerate(points)))
    assert set(numbers(pareto(counts))) == {trial.number for trial in counts if not beaten(trial, counts)}


def test_of_equal_points_the_earliest_is_on_the_front() -> None:
    twins = (complete(1, 5, 0.1, choices="int8 a"), complete(0, 5, 0.1, choices="int8 b"))
    assert numbers(pareto(twins)) == [0]


def test_all_measurements_of_an_assignment_count_together() -> None:
    lucky, rival = complete(0, 4, 0.1, choices="int8 a"), complete(1, 5.5, 0.1, choices="int8 b")
    again = complete(2, 8, 0.3, choices="int8 a", origin="finalist")
    assert numbers(pareto((lucky, rival))) == [0]
    assert numbers(pareto((lucky, rival, again))) == [1]
    pooled = next(trial for trial in counting((again, rival, lucky)) if trial.pooled)
    assert (pooled.number, pooled.pooled) == (2, (0,))
    assert pooled.latency_ms == 6
    assert pooled.loss == pytest.approx(0.2)
    assert as_counted(lucky, (lucky, rival, again)).latency_ms == 6
    assert as_counted(lucky, (lucky, rival, again)).number == 0


def test_measurements_that_disagree_make_a_wide_interval_and_those_that_agree_a_narrow_one() -> None:
    def half(first: float, second: float) -> float:
        trials = [noisy(0, first), noisy(1, second)]
        measurement = counting(trials)[0].measurement
        assert measurement is not None
        interval = measurement.latency.ratio_interval
        return (interval.high - interval.low) / 2

    assert half(5, 5) == pytest.approx(0.02 / 2**0.5)
    assert half(5, 7) == pytest.approx(0.1)


def noisy(number: int, latency_ms: float) -> TrialRecord:
    """A trial whose ratio is known to 0.02."""
    trial = complete(number, latency_ms, 0.1)
    assert trial.measurement is not None
    ratio = trial.measurement.latency.ratio
    latency = msgspec.structs.replace(
        trial.measurement.latency, ratio_interval=Interval(low=ratio - 0.02, high=ratio + 0.02)
    )
    return msgspec.structs.replace(
        trial, measurement=msgspec.structs.replace(trial.measurement, latency=latency)
    )


def test_a_front_that_an_older_autoprec_kept_is_derived_anew(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with Store.open(path) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        for trial in (complete(0, 4, 0.1, choices="int8 a"), complete(1, 5, 0.1, choices="int8 b")):
            store.finish(trial)
        store.finish(complete(2, 5.5, 0.1, choices="int8 a", origin="finalist"))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE autoprec_front SET number = 1")  # the latest alone counted: 5.5 lost to 5
        database.execute("DELETE FROM autoprec_schema WHERE version >= 5")
        database.execute("DROP TABLE autoprec_totals")
    assert not examine(path).faults
    with Store.open(path, read_only=True) as store:
        assert numbers(store.front("demo")) == [2]


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


def test_the_fronts_of_all_studies_of_a_database_are_computed_anew(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with Store.open(path) as store:
        for name in ("demo", "other", "third"):
            store.bind(name, IDENTITY, BLOCKS)
            store.finish(msgspec.structs.replace(complete(0, 5.0, 0.01), study=name))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE autoprec_front SET number = 7")
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        update_fronts(connection)
    engine.dispose()
    assert rows(path, "SELECT number FROM autoprec_front") == [(0,)] * 3
