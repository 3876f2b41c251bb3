"""Every backend of the table keeps the promises of `Backend` and `Engine`, where its runtime is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoprec.backends import BACKENDS, Backend, create_backend, run
from autoprec.backends.timing import STOPWATCHES
from autoprec.errors import BackendError, SpecError, TrialError
from backend_contract import CHECKS, COSTS, FEEDS, its_facts_are_of_the_tables, write_model

OPTIONS: dict[str, Callable[[Path], dict[str, str]]] = {
    "simulated": lambda path: {"costs": str(path)},
    "target": lambda path: {"target": "local:", "engine": "openvino", "target_folder": str(path.parent)},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    costs = tmp_path / "costs.json"
    costs.write_text(COSTS)
    options = OPTIONS[request.param](costs) if request.param in OPTIONS else {}
    try:
        return create_backend(request.param, options)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture
def running(backend: Backend) -> Backend:
    """A backend whose engines can run here."""
    if not getattr(backend, "has_device", True):
        pytest.skip(f"{backend.name} builds here, and has no device to run on")
    return backend


def test_a_backend_is_named_as_in_the_table(backend: Backend) -> None:
    assert backend.name in BACKENDS
    assert backend.stopwatch in STOPWATCHES


def test_a_fingerprint_is_the_same_every_time(backend: Backend) -> None:
    first = backend.fingerprint()
    assert first == backend.fingerprint()
    assert first.backend == backend.name
    assert all((first.version, first.device))


@pytest.mark.parametrize("check", CHECKS)
def test_a_backend_keeps_its_promises(running: Backend, check: str, tmp_path: Path) -> None:
    CHECKS[check](running, tmp_path)


def test_a_backend_s_facts_are_of_the_tables_with_or_without_its_device(
    backend: Backend, tmp_path: Path
) -> None:
    its_facts_are_of_the_tables(backend, tmp_path)


def test_outputs_are_copies(running: Backend, model: Path) -> None:
    with running.build(model) as engine:
        first = run(engine, FEEDS)["masks"]
        before = first.copy()
        run(engine, {"x": -FEEDS["x"]})
        np.testing.assert_array_equal(first, before)


def test_an_input_that_is_not_fed_is_named(running: Backend, model: Path) -> None:
    with running.build(model) as engine, pytest.raises(TrialError, match="'x'") as caught:
        run(engine, {"y": FEEDS["x"]})
    assert caught.value.kind == "run"


def test_a_file_that_is_no_model_fails_to_build(running: Backend, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    for name in ("bad.onnx", "absent.onnx"):
        with pytest.raises(TrialError, match=name) as caught:
            running.build(tmp_path / name)
        assert caught.value.kind == "build"
        assert "\n" not in str(caught.value)


def test_an_engine_may_be_closed_twice(running: Backend, model: Path) -> None:
    engine = running.build(model)
    engine.close()
    engine.close()


def test_clocks_are_positive_where_they_are_known(backend: Backend) -> None:
    clocks = backend.clocks()
    for value in (clocks.sm_mhz, clocks.memory_mhz, clocks.power_watts, clocks.cpu_mhz):
        assert value is None or value > 0


@pytest.mark.parametrize("name", BACKENDS)
def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(SpecError, match="speed") as caught:
        create_backend(name, {"speed": 11})
    assert "\n" not in str(caught.value)


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match=f"unknown backend 'tpu'; known ones: {', '.join(BACKENDS)}"):
        create_backend("tpu", {})
