"""A search does not spend a night on what all its trials share."""

from __future__ import annotations

import msgspec
import pytest

from autoprec.cli._app import EXIT_INTERNAL
from autoprec.cli._boundary import exit_code
from autoprec.errors import FailureKind, InternalError, StudyError, TrialError
from autoprec.records import Failure, TrialRecord
from autoprec.study.night.alike import LIMIT, Alike
from trial_records import complete, failed


def ended(kind: FailureKind, message: str) -> TrialRecord:
    return msgspec.structs.replace(failed(0), failure=Failure(kind=kind, message=message))


def test_trials_that_all_crash_alike_end_the_search() -> None:
    alike = Alike()
    for _ in range(LIMIT - 1):
        alike.add(ended("crash", "the driver is gone"))
    with pytest.raises(StudyError, match="4 trials in a row ended alike"):
        alike.add(ended("crash", "the driver is gone"))


def test_crashes_whose_words_differ_in_numbers_alone_are_alike() -> None:
    alike = Alike()
    words = [f"the worker died (SIGSEGV); last words: at 0x7f{n}ab in process {n}" for n in range(LIMIT)]
    for message in words[:-1]:
        alike.add(ended("crash", message))
    with pytest.raises(StudyError, match="4 trials in a row ended alike"):
        alike.add(ended("crash", words[-1]))


def test_a_fault_of_autoprec_in_all_trials_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    alike = Alike()
    trial = ended("internal", "KeyError: 'INT8X', at audit.py:62; this is a bug in autoprec")
    for _ in range(LIMIT - 1):
        alike.add(trial)
    with pytest.raises(InternalError, match="KeyError") as fault:
        alike.add(trial)
    assert exit_code(fault.value) == EXIT_INTERNAL
    assert "4 trials in a row ended alike" in capsys.readouterr().err
    assert exit_code(TrialError("internal", "KeyError")) == EXIT_INTERNAL


@pytest.mark.parametrize("between", [complete(0, 5.0, 0.1), ended("crash", "another"), ended("build", "no")])
def test_anything_else_in_between_goes_on(between: TrialRecord) -> None:
    alike = Alike()
    for _ in range(3):
        for record in (*[ended("crash", "gone")] * (LIMIT - 1), between):
            alike.add(record)


def test_candidates_that_the_engine_refuses_are_no_reason_to_stop() -> None:
    alike = Alike()
    for _ in range(3 * LIMIT):
        alike.add(ended("build", "no INT8"))
