"""A search does not spend a night on what all its trials share."""

from __future__ import annotations

import msgspec
import pytest

from autoprec.errors import FailureKind, StudyError
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
