"""Every backend of the table keeps the promises of `Backend` and `Engine`, where its runtime is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from autoprec.backends import BACKENDS, Backend, create_backend, run
from autoprec.backends.timing import STOPWATCHES
from autoprec.errors import BackendError, SpecError, TrialError
from autoprec.precisions import PRECISIONS

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[1,1,4,4] x) => (float[1,1,4,4] masks)
<float[1,1,1,1] w = {2}> {
   [conv] c = Conv(x, w)
   [narrow] n = Cast<to = 10>(c)
   [add] a = Add(n, n)
   [widen] masks = Cast<to = 1>(a)
}
"""
FEEDS = {"x": np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)}
OPTIONS: dict[str, Callable[[Path], dict[str, str]]] = {
    "simulated": lambda path: {"costs": str(path)},
    "target": lambda path: {"target": "local:", "engine": "openvino", "target_folder": str(path.parent)},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({"blocks": {}}))
    options = OPTIONS[request.param](costs) if request.param in OPTIONS else {}
    try:
        return create_backend(request.param, options)
    except BackendError as error:
        pytest.skip(str(error))


def test_a_backend_is_named_as_in_the_table(backend: Backend) -> None:
    assert backend.name in BACKENDS
    assert backend.stopwatch in STOPWATCHES
    assert not PRECISIONS[backend.base_precision].is_quantized


def test_a_fingerprint_is_the_same_every_time(backend: Backend) -> None:
    first = backend.fingerprint()
    assert first == backend.fingerprint()
    assert first.backend == backend.name
    assert all((first.version, first.device))


def test_a_built_engine_gives_float32_outputs_by_name(backend: Backend, model: Path) -> None:
    with backend.build(model) as engine:
        found = run(engine, FEEDS)
        assert list(found) == ["masks"]
        assert found["masks"].shape == (1, 1, 4, 4)
        assert found["masks"].dtype == np.float32
        assert engine.engine_bytes > 0
        assert engine.device_memory_bytes >= 0


def test_outputs_are_copies(backend: Backend, model: Path) -> None:
    with backend.build(model) as engine:
        first = run(engine, FEEDS)["masks"]
        before = first.copy()
        run(engine, {"x": -FEEDS["x"]})
        np.testing.assert_array_equal(first, before)


def test_kernels_hold_only_nodes_of_the_model(backend: Backend, model: Path) -> None:
    with backend.build(model, profiled=True) as engine:
        run(engine, FEEDS)
        nodes = [node for kernel in engine.kernels() for node in kernel.nodes]
    assert set(nodes) <= {"conv", "narrow", "add", "widen"}


def test_an_input_that_is_not_fed_is_named(backend: Backend, model: Path) -> None:
    with backend.build(model) as engine, pytest.raises(TrialError, match="'x'") as caught:
        run(engine, {"y": FEEDS["x"]})
    assert caught.value.kind == "run"


def test_a_file_that_is_no_model_fails_to_build(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    for name in ("bad.onnx", "absent.onnx"):
        with pytest.raises(TrialError, match=name) as caught:
            backend.build(tmp_path / name)
        assert caught.value.kind == "build"
        assert "\n" not in str(caught.value)


def test_an_engine_may_be_closed_twice(backend: Backend, model: Path) -> None:
    engine = backend.build(model)
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
    with pytest.raises(SpecError, match="unknown backend 'tpu'; known ones: openvino, simulated"):
        create_backend("tpu", {})
