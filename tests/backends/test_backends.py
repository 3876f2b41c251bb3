"""Every backend of the table keeps the promises of `Backend` and `Engine`, where its runtime is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoprec.backends import BACKENDS, Backend, create_backend
from autoprec.errors import BackendError, SpecError
from backend_contract import (
    CHECKS,
    COSTS,
    a_fingerprint_stays,
    its_devices_can_be_chosen,
    its_facts_are_of_the_tables,
)

OPTIONS: dict[str, Callable[[Path], dict[str, str]]] = {
    "simulated": lambda path: {"costs": str(path)},
    "target": lambda path: {"target": "local:", "engine": "openvino", "target_folder": str(path.parent)},
}


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


def test_a_backend_is_named_as_in_the_table(backend: Backend, tmp_path: Path) -> None:
    assert backend.name in BACKENDS
    a_fingerprint_stays(backend, tmp_path)


@pytest.mark.parametrize("check", CHECKS)
def test_a_backend_keeps_its_promises(running: Backend, check: str, tmp_path: Path) -> None:
    CHECKS[check](running, tmp_path)


def test_a_backend_s_facts_are_of_the_tables_with_or_without_its_device(
    backend: Backend, tmp_path: Path
) -> None:
    its_facts_are_of_the_tables(backend, tmp_path)
    its_devices_can_be_chosen(backend, tmp_path)


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
    with pytest.raises(SpecError, match=f"unknown backend 'tpu'; known: {', '.join(BACKENDS)}"):
        create_backend("tpu", {})
