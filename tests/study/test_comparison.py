"""Comparing tells what moved from what is only noise."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from autoprec import Study
from autoprec.errors import StudyError
from autoprec.records import Fingerprint, Interval, TrialRecord
from autoprec.report import comparison_view
from autoprec.study import compare_studies
from autoprec.study.findings.comparison import ComparedStudy, compared
from tiny_study import write_searched
from trial_records import ENGINE, IDENTITY, REFERENCE, complete


def trial(number: int, ratio: float, loss: float, choices: str, spread: float = 0.01) -> TrialRecord:
    record = complete(number, 10 * ratio, loss, choices=choices)
    assert record.measurement is not None
    interval = Interval(low=ratio * (1 - spread), high=ratio * (1 + spread))
    latency = msgspec.structs.replace(record.measurement.latency, ratio_interval=interval)
    return msgspec.structs.replace(
        record, measurement=msgspec.structs.replace(record.measurement, latency=latency)
    )


def side(name: str, *trials: TrialRecord, engine: Fingerprint = ENGINE) -> ComparedStudy:
    identity = msgspec.structs.replace(IDENTITY, fingerprint=engine)
    return ComparedStudy(name, identity, REFERENCE, trials)


@pytest.mark.parametrize(
    ("ratio", "loss", "speed", "masks"),
    [
        (0.50, 0.02, "same", "same"),
        (0.51, 0.02, "same", "same"),
        (0.40, 0.02, "better", "same"),
        (0.60, 0.01, "worse", "better"),
        (0.50, 0.03, "same", "worse"),
    ],
)
def test_a_figure_moved_only_beyond_intervals_and_noise(
    ratio: float, loss: float, speed: str, masks: str
) -> None:
    comparison = compared(
        side("a", trial(1, 0.5, 0.02, "int8 int8")), side("b", trial(9, ratio, loss, "int8 int8"))
    )
    (match,) = comparison.repeated
    assert (match.first.number, match.second.number) == (1, 9)
    assert (match.speed, match.masks) == (speed, masks)


def test_one_measurement_in_both_is_no_repetition() -> None:
    shared = trial(1, 0.5, 0.02, "int8 int8")
    comparison = compared(side("a", shared), side("b", shared, trial(2, 0.4, 0.01, "fp16 int8")))
    assert not comparison.repeated
    assert [match.speed for match in comparison.fastest] == ["better", "better"], "within 0.03 and 0.05"
    assert comparison.second.area > comparison.first.area


def test_a_lucky_measurement_is_not_quoted_alone() -> None:
    lucky, again = trial(1, 0.3, 0.02, "int8 int8"), trial(2, 0.5, 0.02, "int8 int8")
    comparison = compared(side("a", lucky), side("b", trial(0, 0.6, 0.0, "fp16 fp16"), lucky, again))
    assert comparison.fastest[-1].second[0] == 2
    assert comparison.fastest[-1].second[1] == pytest.approx(1 / 0.4)
    (match,) = comparison.repeated
    assert (match.first.number, match.second.number) == (1, 2), "what is in both is no repetition"
    assert match.second[1] == pytest.approx(1 / 0.5)


def test_the_same_evidence_twice_is_refused() -> None:
    shared = trial(1, 0.5, 0.02, "int8 int8")
    with pytest.raises(StudyError, match="demo@1 and demo are the same 1 trials: name two nights"):
        compared(side("demo@1", shared), side("demo", shared))


def test_what_differs_is_named() -> None:
    other = msgspec.structs.replace(ENGINE, device="Xeon")
    comparison = compared(side("a"), side("b", engine=other))
    assert comparison.differs == ("device: EPYC, then Xeon",)


def test_two_nights_of_one_study_are_compared(tmp_path: Path) -> None:
    path = str(write_searched(tmp_path))
    Study.load(path).search("2")
    comparison = compare_studies(f"{path}@1", path)
    assert (comparison.first.trials, comparison.second.trials) == (5, 7)
    assert comparison.first.area <= comparison.second.area
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        Console(width=80).print(comparison_view(comparison))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "no assignment was measured again" in out.getvalue()
    with pytest.raises(StudyError, match="has no night 7; it has had 2"):
        compare_studies(f"{path}@7", path)
