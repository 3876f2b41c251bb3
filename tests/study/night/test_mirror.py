"""Optuna's tables say what is measured, whatever else is in them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from autoprec.errors import StudyError
from autoprec.records import Block, Proposal, TrialRecord
from autoprec.store import JoiningStorage
from autoprec.study.night.mirror import Mirror
from trial_records import complete, running

BLOCKS = tuple(Block(name=name, nodes=(), allowed=("fp16", "int8")) for name in ("stem", "neck"))


@pytest.fixture
def storage(tmp_path: Path) -> JoiningStorage:
    return JoiningStorage(f"sqlite:///{tmp_path / 'study.db'}")


def mirror(storage: JoiningStorage, *, limited: bool = False) -> Mirror:
    return Mirror(storage, "demo", BLOCKS, limited=limited)


def opened(book: Mirror, record: TrialRecord) -> TrialRecord:
    number = book.open(Proposal(assignment=record.assignment, origin=record.origin, label=record.label))
    return msgspec.structs.replace(record, number=number)


def trials(storage: JoiningStorage) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="demo", storage=storage).trials


def test_what_waits_in_the_tables_is_not_what_is_opened(storage: JoiningStorage) -> None:
    book = mirror(storage)
    optuna.load_study(study_name="demo", storage=storage).enqueue_trial({"stem": "int8", "neck": "int8"})
    record = opened(book, complete(0, 5.0, 0.1, choices="int8 fp16"))
    book.close(record)
    trial = trials(storage)[record.number]
    assert trial.params == record.assignment.as_dict()
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [5.0, 0.1])


def test_what_a_kill_left_open_is_closed_by_the_evidence(storage: JoiningStorage) -> None:
    first = mirror(storage, limited=True)
    stored = msgspec.structs.replace(opened(first, complete(0, 5.0, 0.1)), excess_mb=3.0)
    lost = opened(first, running(0))
    interrupted = opened(first, running(0)).settled()
    optuna.load_study(study_name="demo", storage=storage).enqueue_trial({"stem": "int8", "neck": "int8"})
    mirror(storage, limited=True).repair([stored, interrupted])
    states = [trial.state for trial in trials(storage)]
    assert states[stored.number] == TrialState.COMPLETE
    assert trials(storage)[stored.number].constraints == {"max_memory_mb": 3.0}
    assert {states[lost.number], states[interrupted.number], states[-1]} == {TrialState.FAIL}


def test_a_kill_between_constraint_and_values_is_mended(storage: JoiningStorage) -> None:
    book = mirror(storage, limited=True)
    record = msgspec.structs.replace(opened(book, complete(0, 5.0, 0.1)), excess_mb=-1.0)
    study = optuna.load_study(study_name="demo", storage=storage)
    optuna.Trial(study, 1).set_constraint("max_memory_mb", -1.0)
    book.repair([record])
    assert trials(storage)[record.number].values == [5.0, 0.1]


def test_trials_take_the_choices_that_blocks_have_now(storage: JoiningStorage) -> None:
    book = mirror(storage)
    record = opened(book, complete(0, 5.0, 0.1, choices="int8 fp16"))
    book.close(record)
    more = tuple(msgspec.structs.replace(block, allowed=("bf16", "fp16")) for block in BLOCKS)
    book.adapt(more)
    (trial,) = trials(storage)
    assert trial.params == record.assignment.as_dict()
    # A value that is no choice any more keeps its own.
    assert trial.distributions == {
        "stem": CategoricalDistribution(("fp16", "int8")),
        "neck": CategoricalDistribution(("bf16", "fp16")),
    }


def test_parameters_of_other_tools_stay_as_they_are(storage: JoiningStorage) -> None:
    book = mirror(storage)
    study = optuna.load_study(study_name="demo", storage=storage)
    study.ask({"more": IntDistribution(0, 3), "stem": FloatDistribution(0, 1)})
    before = trials(storage)
    book.adapt([msgspec.structs.replace(block, allowed=("bf16", "fp16")) for block in BLOCKS])
    assert [trial.distributions for trial in trials(storage)] == [trial.distributions for trial in before]


@pytest.mark.parametrize("damage", ["distribution_json = '{'", "param_value = 17"])
def test_a_damaged_parameter_is_named_as_the_tables_fault(damage: str, storage: JoiningStorage) -> None:
    book = mirror(storage)
    opened(book, running(0))
    with storage.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE trial_params SET {damage}")
    with pytest.raises(StudyError, match="doctor --study NAME --repair"):
        book.adapt([msgspec.structs.replace(block, allowed=("bf16", "fp16")) for block in BLOCKS])


def test_a_precision_that_a_block_has_lost_is_still_that_of_its_trials(storage: JoiningStorage) -> None:
    record = complete(0, 5.0, 0.1, choices="int8 fp16")
    poor = [msgspec.structs.replace(block, allowed=("fp16",)) for block in BLOCKS]
    book = Mirror(storage, "demo", poor, limited=False)
    book.rebuild([record])
    opened(book, record)
    assert [trial.params for trial in trials(storage)] == [record.assignment.as_dict()] * 2
    assert trials(storage)[0].distributions["stem"] == CategoricalDistribution(("fp16", "int8"))
