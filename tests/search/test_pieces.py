"""The search's small parts, each on figures that can be checked by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from autoprec.records import Block
from autoprec.search._base import seed_of_night
from autoprec.search.history import History, Outcome
from autoprec.search.pool import any_unknown, mutants, neighbours, sweep, unknown
from autoprec.search.space import Space
from autoprec.search.strategies.autoprec import CHANCE, _seeks_speed
from autoprec.search.subset import MOST, subset
from autoprec.search.surrogates.failures import PAIR_WEIGHT, Failures

Rows = dict[tuple[int, ...], tuple[float, float]]


def block(name: str, reads: str, allowed: str = "fp16 int8", macs: int = 0) -> Block:
    inputs = tuple(reads.split())
    return Block(
        name=name, nodes=(), inputs=inputs, outputs=(name,), allowed=tuple(allowed.split()), macs=macs
    )


FORK = Space((block("a", "x", macs=60), block("b", "a", macs=20), block("c", "b a", macs=20)))


def history(rows: Rows, failed: frozenset[tuple[int, ...]] = frozenset()) -> History:
    outcomes = [Outcome(row, "measured", ms, loss, 0.0) for row, (ms, loss) in rows.items()]
    return History.of(FORK, [*outcomes, *(Outcome(row, "failed", math.nan, math.nan, 0.0) for row in failed)])


def test_edges_are_the_values_that_blocks_share() -> None:
    assert FORK.edges.tolist() == [[0, 1], [0, 2], [1, 2]]
    lone = Space((block("a", "x"), block("b", "y"), block("c", "z")))
    assert lone.edges.tolist() == [[0, 1], [1, 2]], "a chain, where no value is named"


def test_the_type_changes_where_two_neighbours_differ() -> None:
    codes = FORK.codes([(0, 0, 1), (1, 0, 0), (1, 1, 1)])
    assert FORK.crossings(codes).tolist() == [[False, True, True], [True, True, False], [False] * 3]
    assert FORK.one_hot(codes)[0].tolist() == [1, 0, 1, 0, 0, 1]


def test_variants_of_a_precision_border_one_another_without_a_cast() -> None:
    allowed = ("fp32", "int8", "int8+smooth", "int8+gemm")
    space = Space([Block(name=name, nodes=(), allowed=allowed) for name in "ab"])
    pairs = np.array([[1, 2], [2, 1], [0, 2], [1, 3]])
    assert space.crossings(pairs).ravel().tolist() == [False, False, True, True]


def test_half_of_the_work_is_guessed_to_be_even() -> None:
    assert FORK.share.tolist() == pytest.approx([1 / 6 + 0.3, 1 / 6 + 0.1, 1 / 6 + 0.1])
    assert Space((block("a", "x"), block("b", "a"))).share.tolist() == [0.5, 0.5]
    assert FORK.size == 8


def test_a_table_holds_what_is_finite_and_not_negative() -> None:
    table = FORK.table({"a": {"fp16": 0.0, "int8": math.inf}, "b": {"int8": 2.0, "fp16": -1.0}})
    nan = math.nan
    assert np.array_equal(table, [[0.0, nan], [nan, 2.0], [nan, nan]], equal_nan=True)


def test_drawn_rows_are_legal_and_reach_everything_that_is() -> None:
    space = Space((block("a", "x", "fp16"), block("b", "a"), block("c", "b")))
    rows = {tuple(row) for row in space.draw(np.random.default_rng(0), 100).tolist()}
    assert rows == {(0, b, c) for b in (0, 1) for c in (0, 1)}


def test_the_first_night_has_the_seed_and_later_ones_have_others() -> None:
    assert seed_of_night(5, 0) == 5
    assert len({seed_of_night(5, trials) for trials in (0, 10, 20)}) == 3
    assert seed_of_night(5, 10) == seed_of_night(5, 10)


@pytest.mark.parametrize(("chance", "turns"), [(CHANCE, "TFTFTF"), (CHANCE + 0.01, "TTFTTF")])
def test_speed_within_the_loss_gets_more_turns_where_it_is_likely(chance: float, turns: str) -> None:
    rows = list(itertools.product((0, 1), repeat=3))
    told = [_seeks_speed(chance, history(dict.fromkeys(rows[:n], (1.0, 0.1)))) for n in range(6)]
    assert "".join("FT"[seeks] for seeks in told) == turns


def test_a_failure_is_blamed_on_pairs_of_neighbours_by_their_weight() -> None:
    """Each precision, each block's choice and each pair but that of b and c was measured; (a, b) is left."""
    measured: Rows = dict.fromkeys([(1, 0, 0), (0, 1, 1), (0, 0, 0)], (1.0, 0.1))
    failures = Failures(FORK, history(measured, frozenset({(1, 1, 0)})))
    codes = FORK.codes([(1, 1, 0), (1, 1, 1), (0, 1, 0), (0, 0, 1)])
    # left are (a, b) = (int8, int8), (b, c) = (int8, fp16): half of the blame each
    assert failures.probability(codes) == pytest.approx([0.75, 0.5, 0.5, 0], abs=1e-3)


def test_a_block_is_ten_times_as_suspect_as_a_pair() -> None:
    measured: Rows = {(0, 0, 0): (1.0, 0.1), (0, 0, 1): (1.0, 0.1)}
    failures = Failures(FORK, history(measured, frozenset({(1, 0, 0)})))
    # a in int8 alone, or one of the pairs (a, b) and (a, c)
    share = 1 / (1 + 2 * PAIR_WEIGHT)
    alone = failures.probability(FORK.codes([(1, 1, 1)]))
    assert alone == pytest.approx([share], abs=1e-3)
    either: Rows = {(0, 1, 0): (1.0, 0.1), (1, 0, 0): (1.0, 0.1)}
    failures = Failures(FORK, history(either, frozenset({(0, 0, 1)})))
    # c in int8 alone, or one of the pairs (a, b), (b, c) and (a, c); the row has the first of these alone.
    alone = failures.probability(FORK.codes([(0, 0, 0)]))
    assert alone == pytest.approx([PAIR_WEIGHT / (1 + 3 * PAIR_WEIGHT)], abs=1e-3)


def test_up_to_the_most_all_trials_are_fitted_and_then_the_front_comes_first() -> None:
    rng = np.random.default_rng(0)
    values = np.column_stack((rng.uniform(1, 2, 40), rng.uniform(0.1, 1, 40)))
    values[7], values[23] = (0.5, 0.05), (0.4, 0.08)  # the front
    values[11] = (3.0, 0.0101)  # the nearest to the accepted loss
    values[35] = (0.1, 0.9)  # the fastest, and over a limit
    space = Space(tuple(block(f"b{n}", "x") for n in range(6)))
    rows = list(itertools.product((0, 1), repeat=6))[:40]
    excess = [1.0 if n > 30 else 0.0 for n in range(40)]
    told = History.of(
        space, [Outcome(r, "measured", v[0], v[1], e) for r, v, e in zip(rows, values, excess, strict=True)]
    )
    assert subset(told, 0.01, 40).tolist() == list(range(40))
    few = subset(told, 0.01, 8).tolist()
    assert {7, 23, 11} <= set(few)
    assert 35 not in few
    assert few == sorted(set(few))
    assert len(few) == 8
    broken = History.of(space, [Outcome(r, "measured", 1.0, 0.1, 1.0) for r in rows])
    assert len(subset(broken, 0.01, 8)) == 8, "none is within the limits"
    assert MOST == 256


def test_a_sweep_weighs_time_against_damage_and_counts_the_casts() -> None:
    chain = Space((block("a", "x"), block("b", "a")))
    times, damages = np.array([[[2.0, 1.0], [2.0, 1.9]]]), np.array([[[0.0, 1.0], [0.0, 1.0]]])
    free, dear = np.zeros((1, 1, 2, 2)), np.array([[[[0.0, 0.5], [0.5, 0.0]]]])
    rows = sweep(chain, times, free, damages).tolist()
    assert (rows[0], rows[-1]) == ([1, 1], [0, 0]), "damage weighs nothing, then more than all time"
    assert [1, 0] in rows
    assert [0, 1] not in rows
    apart = [row for row in sweep(chain, times, dear, damages).tolist() if row[0] != row[1]]
    assert len(apart) < sum(row[0] != row[1] for row in rows)
    assert neighbours(FORK) == [
        [(0, 1, True), (1, 2, True)],
        [(0, 0, False), (2, 2, True)],
        [(1, 0, False), (2, 1, False)],
    ]


def test_what_was_tried_is_not_proposed_again_and_the_last_one_left_is_found() -> None:
    codes = FORK.codes([(1, 1, 1), (0, 0, 0), (1, 1, 1), (0, 1, 0)])
    assert unknown(codes, frozenset({(0, 0, 0)})).tolist() == [[1, 1, 1], [0, 1, 0]]
    rows = [tuple(row) for row in itertools.product((0, 1), repeat=3)]
    for left in rows:
        assert any_unknown(FORK, frozenset(rows) - {left}).tolist() == [list(left)]
    assert any_unknown(FORK, frozenset(rows)).shape == (0, 3)


def test_children_are_legal_and_differ_from_their_parents() -> None:
    space = Space((block("a", "x", "fp16"), *(block(f"b{n}", "a") for n in range(11))))
    parents = space.codes([(0,) * 12, (0,) + (1,) * 11])
    children = mutants(space, parents, np.random.default_rng(1), 300)
    assert children.shape == (300, 12)
    assert (children[:, 0] == 0).all()
    changes = np.minimum(*((children != parent).sum(axis=1) for parent in parents))
    assert 0.5 < np.mean(changes > 0) < 0.95
    assert np.mean(changes[::3]) < 2, "a third flips one to three blocks"
    assert changes.max() > 4, "others flip runs of blocks"
