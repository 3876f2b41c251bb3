"""What is surely dominated is measured no further; what may be worth it is measured in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec.measurement.messages import Job
from autoprec.measurement.workbench import Workbench
from autoprec.records import Interval, Measurement
from autoprec.spec import load_spec
from autoprec.study.preparation import Prepared, prepare
from tiny_study import write_samples, write_study

NOBODY_BEATS = Interval(low=0.0, high=1e-9), Interval(low=-1.0, high=-1e-9)
ANYBODY_BEATS = Interval(low=1e9, high=1e9), Interval(low=1.0, high=1.0)
ALL, FEWEST, MINIMUM_ROUNDS = 40, 10, 5


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("racing")
    path = write_study(folder)
    write_samples(folder / "evaluation", count=ALL, seed=2)
    return prepare(load_spec(path))


def measured(prepared: Prepared, folder: Path, front: tuple[Interval, Interval] | None) -> Measurement:
    candidate = prepared.rewrite(prepared.uniform("int8"), folder / "candidate.onnx")
    job = Job(
        setup=prepared.setup,
        candidate_path=candidate.model_path,
        assignment=candidate.assignment,
        blocks=prepared.blocks,
        heavy=prepared.deciding(candidate.assignment),
        reference_latency_ms=1.0,
        front=(front,) if front else (),
    )
    return Workbench(prepared.setup).measure(job, lambda _: None)


def test_a_surely_dominated_candidate_is_measured_no_further(prepared: Prepared, tmp_path: Path) -> None:
    measurement = measured(prepared, tmp_path, NOBODY_BEATS)
    assert measurement.quality.samples == FEWEST
    assert measurement.latency.rounds == MINIMUM_ROUNDS


@pytest.mark.parametrize("front", [None, ANYBODY_BEATS], ids=["alone", "in the lead"])
def test_what_may_be_worth_it_is_scored_on_all_samples(
    prepared: Prepared, tmp_path: Path, front: tuple[Interval, Interval] | None
) -> None:
    assert measured(prepared, tmp_path, front).quality.samples == ALL
