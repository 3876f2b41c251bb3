"""Damaged evidence: said in one line, and written anew without what is damaged."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autoprec import Study
from autoprec.errors import StudyError
from autoprec.store import Store
from tiny_study import write_searched, write_study


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sea?rch #1 %41 ü")
    write_searched(folder)
    return folder


@pytest.fixture
def study(searched: Path, tmp_path: Path) -> Study:
    shutil.copytree(searched, tmp_path / "copy")
    return Study.load(tmp_path / "copy" / "tiny.toml")


def change(study: Study, *statements: str) -> None:
    with closing(sqlite3.connect(study.database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_evidence_that_nobody_touched_is_healthy(study: Study) -> None:
    assert study.health().faults == ()
    assert study.health().trials == 5


def test_a_study_lives_in_its_own_folder_whatever_that_is_called(searched: Path) -> None:
    assert {path.name for path in searched.parent.iterdir() if path.suffix != ".lock"} >= {searched.name}
    with closing(sqlite3.connect(searched / "tiny" / "study.db")) as connection:
        assert connection.execute("SELECT count(*) FROM trials").fetchone() == (5,)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM autoprec_front",
        "ALTER TABLE trials RENAME COLUMN state TO mine",
        *(
            pytest.param(more, marks=pytest.mark.slow)
            for more in (
                "UPDATE trial_values SET value = value / 2",
                "DROP TABLE trial_params",
                "DROP TABLE autoprec_choices",
            )
        ),
    ],
)
def test_what_follows_from_trials_is_written_anew(statement: str, study: Study) -> None:
    trials, front = study.trials(), study.front()
    change(study, statement)
    # Parameters in Optuna's tables are for other tools: nobody compares them.
    assert study.health().faults or "trial_params" in statement
    kept = study.repair()
    assert kept.name == "study.db.damaged-1"
    assert study.health().faults == ()
    assert (study.trials(), study.front()) == (trials, front)
    assert len(study.search("1")) >= 1
    assert len(study.trials()) == 6


def test_a_damaged_trial_is_named_and_left_out(study: Study) -> None:
    change(study, "UPDATE autoprec_trials SET record = replace(record, '0.', '1.') WHERE number = 2")
    with pytest.raises(StudyError, match=r"trial 'tiny', 2 is damaged; `autoprec doctor --study"):
        study.trials()
    assert "trial 'tiny', 2 is damaged" in study.health().faults
    study.repair()
    assert [trial.number for trial in study.trials()] == [0, 1, 3, 4]
    study.search("1")
    assert [trial.number for trial in study.trials()] == [0, 1, 3, 4, 5]


def test_a_file_that_is_damaged_throughout_keeps_its_rows(study: Study) -> None:
    trials = study.trials()
    change(study, "PRAGMA writable_schema = ON", "DELETE FROM sqlite_master WHERE name LIKE 'ix_%'")
    with pytest.raises(StudyError, match="is damaged; `autoprec doctor"):
        study.front()
    assert "is damaged" in study.health().faults[0]
    study.repair()
    assert study.trials() == trials


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trial_values SET value = value / 2",
        "UPDATE trials SET state = 'RUNNING'",
        "UPDATE trials SET state = 'nonsense'",
        "DELETE FROM studies",
        "UPDATE alembic_version SET version_num = 'later'",
    ],
)
def test_optunas_copy_is_checked_before_it_is_searched_on(statement: str, study: Study) -> None:
    change(study, statement)
    with pytest.raises(StudyError, match=r"(?s)Optuna's tables .*`autoprec doctor --study NAME --repair`"):
        study.search("1")
    assert study.health().faults
    study.repair()
    assert not study.health().faults


def test_a_pipe_in_the_place_of_the_database_is_refused(study: Study) -> None:
    study.database.unlink()
    os.mkfifo(study.database)
    with pytest.raises(StudyError, match=r"study\.db: cannot be opened \(is not a regular file\)"):
        study.health()
    with pytest.raises(StudyError, match=r"study\.db: cannot be opened \(is not a regular file\)"):
        study.repair()


def test_a_study_that_ended_before_it_measured_anything_is_not_damaged(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    study.database.parent.mkdir()
    Store.open(study.database).close()
    assert study.health().faults == ()


def test_a_study_whose_own_row_is_lost_is_damaged(study: Study) -> None:
    change(study, "PRAGMA foreign_keys = OFF", "DELETE FROM autoprec_studies")
    assert study.health().faults
