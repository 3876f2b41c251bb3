"""Every step of loading finds what it requires, and leaves what it ensures, whatever the model."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from cases import OPSETS, make_case, operators
from hypothesis import HealthCheck, given, settings

from autoprec.errors import ModelError
from autoprec.graph.model import conditions
from autoprec.graph.model.conditions import Condition
from autoprec.graph.model.forms import FORMS
from autoprec.graph.model.load import open_model
from autoprec.graph.model.steps import STEPS, Loading
from random_ops import models

CONDITIONS: list[Condition] = [
    getattr(conditions, name)
    for name, value in vars(conditions).items()
    if callable(value) and value.__module__ == conditions.__name__ and not name.startswith("_")
]


def broken(wanted: tuple[Condition, ...] | list[Condition], model: ir.Model) -> dict[str, str]:
    """The conditions that do not hold, by name, and what breaks them."""
    results = {condition.__name__: condition(model) for condition in wanted}
    return {name: what for name, what in results.items() if what is not None}


def loaded_step_by_step(proto: onnx.ModelProto) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(proto, path)
        loading = Loading(open_model(path), {})
        for number, step in enumerate(STEPS):
            assert not broken(step.requires, loading.model), f"before step {number}"
            step.change(loading)
            assert not broken(step.ensures, loading.model), f"behind step {number}"
        assert not broken(CONDITIONS, loading.model)
        before = ir.to_proto(loading.model).SerializeToString(deterministic=True)
        for form in FORMS:
            form(loading.model.graph)
        assert ir.to_proto(loading.model).SerializeToString(deterministic=True) == before, "a form finds more"


@pytest.mark.parametrize("examples", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_conditions_hold_between_the_steps_on_random_graphs(examples: int) -> None:
    every = list(HealthCheck)
    drawing = settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=every, database=None
    )
    drawing(given(models() | models(quantized=True))(loaded_step_by_step))()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_conditions_hold_between_the_steps_on_operators_of_all_opsets(seed: int) -> None:
    for number, op in enumerate(sorted(set[str]().union(*map(operators, OPSETS)))[seed % 4 :: 4]):
        opsets = [opset for opset in OPSETS if op in operators(opset)]
        case = make_case(seed, op, opsets[(number + seed) % len(opsets)])
        if case is not None:
            with suppress(ModelError):  # what is refused need not be loaded
                loaded_step_by_step(case.model)


def test_no_step_requires_what_none_before_it_ensures() -> None:
    held: set[Condition] = set()
    for step in STEPS:
        assert set(step.requires) <= held
        held |= set(step.ensures)
    assert held == set(CONDITIONS)
