"""What a trial costs the database stays the same, however many trials there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from autoprec.records import Assignment, Block, Measurement, Proposal, TrialRecord, pareto
from autoprec.store import Run, Store
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.mirror import Mirror
from trial_records import IDENTITY

BLOCKS = tuple(Block(name=f"block{n}", nodes=(), allowed=("fp16", "int8")) for n in range(5))
STATEMENTS = 35
"""That a trial may take, from its beginning to its end; Optuna's own calls alone take more than fifty."""


@pytest.fixture
def ledger(where: Path | str) -> Iterator[Ledger]:
    with Store.open(where) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        membership = store.join("demo", ("cpu",), "1")
        membership.enter()
        yield Ledger(
            store, Mirror.of(store, "demo", BLOCKS, limited=False), membership, "demo", "engine", None
        )


@contextmanager
def counted() -> Iterator[list[str]]:
    """Statements of all databases in the block."""
    told: list[str] = []

    def tell(*call: object) -> None:
        told.append(str(call[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", tell)
    yield told
    sa.event.remove(sa.Engine, "before_cursor_execute", tell)


def measure(ledger: Ledger, number: int, run: Run | None = None) -> TrialRecord:
    """A trial from its beginning to its end, on an assignment of its own."""
    choices = tuple((block.name, ("fp16", "int8")[number >> n & 1]) for n, block in enumerate(BLOCKS))
    record = ledger.begin(Proposal(assignment=Assignment(choices=choices), origin="search"), run)
    assert record is not None
    return ledger.settle(record, Measurement.of_objectives(32.0 - number, number / 32))


def test_a_trial_takes_as_many_statements_as_the_first_one(ledger: Ledger) -> None:
    statements = []
    for number in range(20):
        with counted() as told:
            measure(ledger, number)
        statements.append(len(told))
    assert statements[1] == statements[-1] < STATEMENTS
    assert ledger.front == pareto(ledger.records.values())


def test_what_a_run_has_spent_is_what_its_trials_are(ledger: Ledger) -> None:
    run = Run(id=7, study="demo", start="", end="", budget="9", trials=0, first=2)
    for number in range(4):
        measure(ledger, number, run if number > 2 else None)
    ledger.begin(
        Proposal(
            assignment=Assignment(choices=tuple((block.name, "int8") for block in BLOCKS)), origin="finalist"
        ),
        run,
    )
    tally, spent = ledger.tally(run), ledger.spent(run)
    assert [record.number for record in spent] == [2, 3, 4]
    assert (tally.searching, tally.finalists, len(tally.seconds)) == (2, 1, 2)
