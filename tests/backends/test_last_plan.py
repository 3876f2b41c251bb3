"""A profile is of the plan that was timed, and costs no second build."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec.backends.tensorrt.build import BuiltPlan, LastPlan


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"first")
    return path


@pytest.fixture
def builds() -> list[Path]:
    return []


@pytest.fixture
def plans(builds: list[Path]) -> LastPlan:
    def build(path: Path) -> BuiltPlan:
        builds.append(path)
        return BuiltPlan(data=path.read_bytes(), layers=())

    return LastPlan(build)


def test_a_profile_takes_the_plan_that_was_built_last(
    plans: LastPlan, builds: list[Path], model: Path
) -> None:
    timed = plans.of(model, again=False)
    assert plans.of(model, again=True) is timed
    assert builds == [model]


def test_two_timed_engines_are_two_builds(plans: LastPlan, builds: list[Path], model: Path) -> None:
    for _ in range(2):
        plans.of(model, again=False)
    assert len(builds) == 2


def test_a_file_that_was_written_again_is_built_again(plans: LastPlan, model: Path) -> None:
    plans.of(model, again=False)
    model.write_bytes(b"second one")
    assert plans.of(model, again=True).data == b"second one"


def test_another_file_is_built(plans: LastPlan, model: Path) -> None:
    plans.of(model, again=False)
    other = model.with_name("other.onnx")
    other.write_bytes(b"other")
    assert plans.of(other, again=True).data == b"other"
