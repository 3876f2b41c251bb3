"""What autoprec itself was at fault for is tried again once autoprec has been mended, and only then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoprec.errors import FailureKind, TrialError
from autoprec.records import Assignment, Block, Failure, Measurement, Proposal
from autoprec.store import Store
from autoprec.study import finders
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.mirror import Mirror
from trial_records import IDENTITY

BLOCKS = (Block(name="a", nodes=(), allowed=("fp16", "int8")),)
MIX = Assignment(choices=(("a", "int8"),))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
    """Opens the ledger of one study anew, as another run does."""
    with Store.open(tmp_path / "study.db") as store:
        store.bind("demo", IDENTITY, BLOCKS)
        membership = store.join("demo", ("cpu",), "1")
        membership.enter()

        def open_() -> Ledger:
            mirror = Mirror.of(store, "demo", BLOCKS, limited=False)
            ledger = Ledger(store, mirror, membership, "demo", "engine", None)
            ledger.sync()
            return ledger

        yield open_


def end(ledger: Ledger, outcome: Measurement | TrialError) -> None:
    """Measure the mix, which ends so."""
    record = ledger.begin(Proposal(assignment=MIX, origin="search"))
    assert record is not None
    ledger.settle(record, outcome)


@pytest.fixture
def mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Makes this another autoprec, whose modules and judge are others."""

    def change() -> None:
        monkeypatch.setattr(finders, "JUDGED", -1)
        monkeypatch.setattr(finders, "_PACKAGE", tmp_path)
        finders.code_digest.cache_clear()

    yield change
    finders.code_digest.cache_clear()


def test_a_fault_of_autoprec_is_tried_once_more_and_again_after_the_mend(
    opened: Callable[[], Ledger], mend: Callable[[], None]
) -> None:
    for times in (1, 2):
        end(opened(), TrialError("internal", "KeyError: 'FLOAT8E5M2'"))
        assert opened().interrupted[MIX] == times
    mend()
    assert opened().interrupted[MIX] == 1
    end(opened(), Measurement.of_objectives(1.0, 0.1))
    assert [trial.assignment for trial in opened().front] == [MIX]


def test_a_wrong_result_stands_until_the_judge_changes(
    opened: Callable[[], Ledger], mend: Callable[[], None]
) -> None:
    end(opened(), TrialError("wrong", "the engine computes something else"))
    assert MIX.digest in opened().settled
    assert opened().begin(Proposal(assignment=MIX, origin="search")) is None
    mend()
    assert (opened().settled, opened().interrupted[MIX]) == ({}, 1)
    end(opened(), Measurement.of_objectives(1.0, 0.1))
    assert [trial.assignment for trial in opened().front] == [MIX]


def test_no_change_of_autoprec_reopens_what_an_engine_refused(
    opened: Callable[[], Ledger], mend: Callable[[], None]
) -> None:
    kinds: tuple[FailureKind, ...] = ("build", "nan", "timeout")
    for kind in kinds:
        assert not finders.is_outdated(Failure(kind=kind, message="no kernel"))
    end(opened(), TrialError("build", "no kernel"))
    mend()
    assert MIX.digest in opened().settled


def test_hosts_of_different_versions_do_not_try_again_in_turn(opened: Callable[[], Ledger]) -> None:
    here = opened()
    end(here, TrialError("wrong", "the engine computes something else"))
    with pytest.MonkeyPatch.context() as other_host:
        other_host.setattr(finders, "JUDGED", -1)
        end(opened(), TrialError("wrong", "the engine computes something else"))
    here.sync()
    assert MIX.digest in here.settled
    assert MIX.digest in opened().settled
