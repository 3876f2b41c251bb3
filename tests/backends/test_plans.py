"""A profile is of the plan that was timed, and costs no second build; a plan may be built ahead, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoprec.backends.tensorrt.build import BuiltPlan, Plans
from autoprec.errors import TrialError

Build = Callable[[Path], BuiltPlan]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"first")
    return path


@pytest.fixture
def builds() -> list[Path]:
    return []


@pytest.fixture
def counted(builds: list[Path]) -> Build:
    def build(path: Path) -> BuiltPlan:
        builds.append(path)
        return BuiltPlan(data=path.read_bytes(), layers=())

    return build


@pytest.fixture
def plans(counted: Build) -> Plans:
    return Plans(counted)


def test_a_profile_takes_the_plan_that_was_built_last(plans: Plans, builds: list[Path], model: Path) -> None:
    timed = plans.of(model, again=False)
    assert plans.of(model, again=True) is timed
    assert builds == [model]


def test_two_timed_engines_are_two_builds(plans: Plans, builds: list[Path], model: Path) -> None:
    for _ in range(2):
        plans.of(model, again=False)
    assert len(builds) == 2


def test_two_builds_that_would_be_alike_are_one_and_so_is_the_profile(
    counted: Build, builds: list[Path], model: Path
) -> None:
    plans = Plans(counted, alike=True)
    timed = [plans.of(model, again=again) for again in (False, False, True)]
    assert (builds, len(set(map(id, timed)))) == ([model], 1)
    model.write_bytes(b"second one")
    assert plans.of(model, again=False).data == b"second one"


def test_a_file_that_was_written_again_is_built_again(plans: Plans, model: Path) -> None:
    plans.of(model, again=False)
    model.write_bytes(b"second one")
    assert plans.of(model, again=True).data == b"second one"


def test_another_file_is_built(plans: Plans, model: Path) -> None:
    plans.of(model, again=False)
    other = model.with_name("other.onnx")
    other.write_bytes(b"other")
    assert plans.of(other, again=True).data == b"other"


def test_a_plan_that_was_begun_is_taken_once(plans: Plans, builds: list[Path], model: Path) -> None:
    plans.begin(model)
    ahead = plans.of(model, again=False)
    assert builds == [model]
    assert plans.of(model, again=True) is ahead
    assert plans.of(model, again=False) is not ahead


def test_a_plan_that_was_begun_of_an_older_file_is_not_taken(plans: Plans, model: Path) -> None:
    plans.begin(model)
    model.write_bytes(b"second one")
    assert plans.of(model, again=False).data == b"second one"


def test_a_plan_that_was_begun_fails_where_it_is_wanted(model: Path) -> None:
    def refuse(path: Path) -> BuiltPlan:
        raise TrialError("build", f"no {path.name}")

    refusing = Plans(refuse)
    refusing.begin(model)
    with pytest.raises(TrialError, match=r"no model\.onnx"):
        refusing.of(model, again=False)
