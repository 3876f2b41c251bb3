from __future__ import annotations

from autoprec.records import Assignment, Block
from autoprec.search import transferred
from autoprec.search.transfer import MOST
from search_records import complete, failed

BLOCKS = tuple(Block(name=f"b{n}", nodes=(), allowed=("fp16", "int8")) for n in range(9))


def row(number: int) -> Assignment:
    """Another assignment for each number below 512."""
    return Assignment(
        choices=tuple((b.name, ("fp16", "int8")[number >> n & 1]) for n, b in enumerate(BLOCKS))
    )


def test_losses_of_another_study_come_over_and_failures_do_not() -> None:
    records = [
        complete(0, row(3), (5.0, 0.02)),
        failed(1, row(4)),
        complete(2, row(3), (5.0, 0.04), "finalist"),
    ]
    (observations,) = transferred(records, BLOCKS, 0.01)
    assert (observations.assignment, round(observations.loss, 9)) == (row(3), 0.03)


def test_what_this_study_does_not_have_stays_behind() -> None:
    foreign = Assignment(choices=tuple((b.name, "fp8") for b in BLOCKS))
    assert transferred([complete(0, foreign, (5.0, 0.02))], BLOCKS, 0.01) == ()


def test_of_many_trials_the_front_comes_first() -> None:
    records = [complete(n, row(n), (1.0 + n, 0.5 / (1 + n) if n < 20 else 0.6)) for n in range(300)]
    observations = transferred(records, BLOCKS, 0.01)
    assert len(observations) == MOST
    assert {row(n) for n in range(20)} <= {scored.assignment for scored in observations}
