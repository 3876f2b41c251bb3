"""What breaks a limit or a build is learned from the trials that did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from autoprec.records import Block
from autoprec.search.history import History, Outcome
from autoprec.search.space import Space
from autoprec.search.surrogates.failures import Failures
from autoprec.search.surrogates.limits import Limits

SPACE = Space(tuple(Block(name=f"b{n}", nodes=(), allowed=("fp16", "int8")) for n in range(6)))
FLOAT = (0,) * 6


def history(measured: dict[tuple[int, ...], float], failed: Sequence[tuple[int, ...]] = ()) -> History:
    """Of measured rows with their excess, and failed ones."""
    nan = float("nan")
    outcomes = [Outcome(row, "measured", 1.0, 0.1, excess) for row, excess in measured.items()]
    return History.of(SPACE, [*outcomes, *(Outcome(row, "failed", nan, nan, 0.0) for row in failed)])


def only(*blocks: int) -> tuple[int, ...]:
    """INT8 in these blocks alone."""
    return tuple(int(n in blocks) for n in range(6))


def test_without_a_broken_limit_none_is_expected() -> None:
    limits = Limits(SPACE, history({FLOAT: 0.0, only(1): 0.0}))
    assert limits.probability(SPACE.codes([only(2), FLOAT])).tolist() == [0.0, 0.0]


def test_the_block_that_breaks_a_limit_is_found() -> None:
    seen = {only(n): -10.0 for n in range(6)} | {FLOAT: -10.0, only(3): 20.0, only(3, 4): 20.0}
    limits = Limits(SPACE, history(seen))
    broken, kept = limits.probability(SPACE.codes([only(1, 3), only(1, 2)]))
    assert broken > 0.95
    assert kept < 0.05


def test_what_was_measured_is_known_nearly_for_sure_and_what_was_not_is_in_doubt() -> None:
    limits = Limits(SPACE, history({FLOAT: -1.0, only(0): -1.0}))
    seen, unseen = limits.probability(SPACE.codes([FLOAT, only(1, 2, 3, 4, 5)]))
    assert seen < 1e-6
    assert 0.01 < unseen < 0.99


def test_without_failures_none_is_expected() -> None:
    failures = Failures(SPACE, history({FLOAT: 0.0}))
    assert failures.probability(SPACE.codes([only(0, 1), FLOAT])).tolist() == [0.0, 0.0]


def test_what_was_once_measured_is_cleared_and_the_rest_is_to_blame() -> None:
    seen: dict[tuple[int, ...], float] = {FLOAT: 0.0, only(0): 0.0, only(1): 0.0, only(0, 1): 0.0}
    failures = Failures(SPACE, history(seen, [only(0, 1, 4)]))
    blamed, cleared = failures.probability(SPACE.codes([only(4), only(0, 1)]))
    assert blamed > 0.5
    assert cleared == 0.0


def test_what_several_failures_share_is_blamed_more() -> None:
    seen: dict[tuple[int, ...], float] = {FLOAT: 0.0, only(0): 0.0}
    failures = Failures(SPACE, history(seen, [only(2, 4), only(3, 4), only(1, 4)]))
    shared, other = failures.probability(SPACE.codes([only(4), only(2)]))
    assert shared > 2 * other > 0


def test_a_pair_of_neighbours_is_blamed_where_each_alone_was_measured() -> None:
    seen: dict[tuple[int, ...], float] = {FLOAT: 0.0} | {only(n): 0.0 for n in range(6)}
    failures = Failures(SPACE, history(seen, [only(2, 3)]))
    together, apart = failures.probability(SPACE.codes([only(2, 3), only(2, 5)]))
    assert together == pytest.approx(0.999, abs=0.01)
    assert apart == 0.0


def test_a_running_trial_says_nothing_yet() -> None:
    running = Outcome(only(5), "running", float("nan"), float("nan"), 0.0)
    past = History.of(SPACE, [running])
    assert len(past.failed) == 0
    assert past.pending.tolist() == [list(only(5))]
    assert np.all(Failures(SPACE, past).probability(SPACE.codes([only(5)])) == 0)
