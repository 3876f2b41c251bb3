"""What every backend promises, as checks that `test_backends.py` runs over the table, and over mutants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx

from autoprec.backends import Backend, HasDevices, computes, run
from autoprec.backends.clocks import clock_of
from autoprec.backends.exact import WRONG, Exact, deviation
from autoprec.backends.simulated import ASSIGNMENT_KEY
from autoprec.backends.timing import STOPWATCHES
from autoprec.errors import FailureKind, TrialError
from autoprec.graph.grids.grid import GRIDS, SIGNED
from autoprec.precisions import PLAIN

SHORT = {"", "bool", "i32", "i64", "u8", *(precision.runs_as for precision in PLAIN.values())}
"""How `KernelTime.precision` may be spelled."""
NODES = {"conv", "narrow", "add", "widen"}
FEEDS = {"x": np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)}
COSTS = '{"blocks": {"conv": {"fp32": {"ms": 1}}}}'
"""Of the simulated backend: the model says that it is the assignment of that block."""


def write_model(folder: Path, kind: str = "float") -> Path:
    """A convolution and an addition in FP16, with an output of some float type."""
    last = "[widen] masks = Cast<to = 1>(a)" if kind == "float" else "[widen] masks = Identity(a)"
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[1,1,4,4] x) => ({kind}[1,1,4,4] masks) '
        "<float[1,1,1,1] w = {2}> { [conv] c = Conv(x, w)  [narrow] n = Cast<to = 10>(c) "
        f"[add] a = Add(n, n)  {last} }}"
    )
    onnx.helper.set_model_props(proto, {ASSIGNMENT_KEY: '[["conv", "fp32"]]'})
    path = folder / f"{kind}.onnx"
    onnx.save(proto, path)
    return path


def write_pair(folder: Path) -> Path:
    """Two inputs and two outputs, neither in the order of their names."""
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[1,1,4,4] x, float[1,1,4,4] b) => '
        "(float[1,1,4,4] masks, float[1,1,4,4] less) { [add] masks = Add(x, x)  [conv] less = Sub(x, b) }"
    )
    onnx.helper.set_model_props(proto, {ASSIGNMENT_KEY: '[["conv", "fp32"]]'})
    path = folder / "pair.onnx"
    onnx.save(proto, path)
    return path


def write_quantized(folder: Path) -> Path:
    """A convolution between Q/DQ pairs of INT8, and an addition in FP32."""
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[1,16,4,4] x) => (float[1,16,4,4] masks) '
        "<float s = {0.1}, int8 z = {0}> { q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z) "
        "v = DequantizeLinear(w, s, z)  [conv] c = Conv(d, v)  [add] masks = Add(c, c) }"
    )
    weights = np.arange(256, dtype=np.int8).reshape(16, 16, 1, 1)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.helper.set_model_props(proto, {ASSIGNMENT_KEY: '[["conv", "fp32"]]'})
    path = folder / "quantized.onnx"
    onnx.save(proto, path)
    return path


def its_facts_are_of_the_tables(backend: Backend, folder: Path) -> None:
    """Precisions, operators and grids are spelled as everybody else spells them."""
    assert backend.stopwatch in STOPWATCHES
    assert backend.bases[0] == backend.base_precision
    assert not any(PLAIN[base].is_quantized for base in backend.bases)
    assert {type(backend.splits_projections), type(backend.builds_on_device), type(backend.uses_tf32)} == {
        bool
    }
    for op, precision in backend.widened:
        assert onnx.defs.has(op)
        assert not PLAIN[precision].is_quantized
    assert SIGNED in backend.grids
    assert set(backend.grids) <= GRIDS.keys()


def its_devices_can_be_chosen(backend: Backend, folder: Path) -> None:
    """What runs on a device of its own says which there are, and how a process sees one of them alone."""
    assert backend.has_own_device == isinstance(backend, HasDevices)
    if isinstance(backend, HasDevices):
        devices = backend.devices()
        assert backend.resource
        assert len({device.name for device in devices}) == len({device.lease for device in devices})
        assert len({device.lease for device in devices}) == len(devices)
        assert all(device.environment for device in devices)


def outputs_are_what_the_model_computes(backend: Backend, folder: Path) -> None:
    """Those of exact arithmetic; of a backend that computes nothing, masks with two sides."""
    path = write_model(folder)
    with backend.build(path) as engine, Exact(threads=1).build(path) as exact:
        actual, wanted = run(engine, FEEDS), run(exact, FEEDS)
    assert list(actual) == ["masks"]
    assert actual["masks"].shape == (1, 1, 4, 4)
    assert actual["masks"].max() > actual["masks"].min()
    if computes(backend):
        assert deviation(actual, wanted).error < WRONG


def outputs_follow_what_is_fed(backend: Backend, folder: Path) -> None:
    """Each run's are copies of its own."""
    with backend.build(write_model(folder)) as engine:
        first = run(engine, FEEDS)["masks"]
        before = first.copy()
        second = run(engine, {"x": -FEEDS["x"]})["masks"]
    np.testing.assert_array_equal(first, before)
    if computes(backend):
        np.testing.assert_allclose(second, -first, rtol=0.01)


def inputs_and_outputs_go_by_name(backend: Backend, folder: Path) -> None:
    """Whatever order they stand in."""
    path, feeds = write_pair(folder), {"x": FEEDS["x"], "b": FEEDS["x"] ** 2}
    with backend.build(path) as engine, Exact(threads=1).build(path) as exact:
        actual, wanted = run(engine, feeds), run(exact, feeds)
    assert actual.keys() == wanted.keys()
    if computes(backend):
        for name, array in wanted.items():
            np.testing.assert_allclose(actual[name], array, rtol=0.01)


def what_cannot_be_is_a_failed_trial_in_one_line(backend: Backend, folder: Path) -> None:
    """A file that is no model, one that is not there, an input that is not fed."""
    (folder / "bad.onnx").write_bytes(b"no model")
    for name in ("bad.onnx", "absent.onnx"):
        fails("build", name, partial(backend.build, folder / name))
    with backend.build(write_model(folder)) as engine:
        fails("run", "'x'", lambda: run(engine, {"y": FEEDS["x"]}))


def fails(kind: FailureKind, names: str, work: Callable[[], object]) -> None:
    refusal: TrialError | None = None
    try:
        work()
    except TrialError as error:
        refusal = error
    assert refusal is not None, f"nothing failed where {names} should have"
    assert (refusal.kind, names in str(refusal), "\n" in str(refusal)) == (kind, True, False)


def a_fingerprint_stays(backend: Backend, folder: Path) -> None:
    """It names the backend, its version and its device, the same each time."""
    first = backend.fingerprint()
    assert first == backend.fingerprint()
    assert first.backend == backend.name
    assert all((first.version, first.device))


def an_engine_may_be_closed_twice(backend: Backend, folder: Path) -> None:
    """A `with` block does, where somebody closed it inside."""
    engine = backend.build(write_model(folder))
    engine.close()
    engine.close()


def outputs_are_float32_whatever_the_model_s_are(backend: Backend, folder: Path) -> None:
    """What is scored needs no cast."""
    for kind in ("float", "float16"):
        with backend.build(write_model(folder, kind)) as engine:
            assert run(engine, FEEDS)["masks"].dtype == np.float32


def kernels_tell_what_ran(backend: Backend, folder: Path) -> None:
    """Kernels hold nodes of the model, and spell precisions as the audit does."""
    with backend.build(write_model(folder), profiled=True) as engine:
        run(engine, FEEDS)
        kernels = engine.kernels()
    assert {node for kernel in kernels for node in kernel.nodes} <= NODES
    ran = [kernel.precision for kernel in kernels if "conv" in kernel.nodes]
    assert ran
    assert set(ran) <= SHORT
    assert not computes(backend) or "f32" in ran
    assert all(kernel.time_ms >= 0 for kernel in kernels)


def its_stopwatch_times_its_engines(backend: Backend, folder: Path) -> None:
    """One that asks an engine for what it does not have would end the search."""
    with backend.build(write_model(folder)) as engine:
        engine.prepare(FEEDS)
        engine.execute()
        engine.synchronize()
        assert STOPWATCHES[backend.stopwatch](engine, 2) > 0


def its_clock_is_told_as_its_stopwatch_is(backend: Backend, folder: Path) -> None:
    if backend.stopwatch == "target":  # told by the library that runs there
        return
    told = clock_of(backend.fingerprint())
    expected = {"cuda": "time on the GPU", "known": "known cost", "processor": "processor time"}
    assert told.startswith(expected.get(backend.stopwatch, "wall time"))


def kernels_spell_integers_as_the_audit_does(backend: Backend, folder: Path) -> None:
    """Those of a quantised convolution, unless the engine refuses it, which legality stores."""
    try:
        engine = backend.build(write_quantized(folder), profiled=True)
    except TrialError:
        return
    with engine:
        run(engine, {"x": np.ones((1, 16, 4, 4), np.float32)})
        ran = {kernel.precision for kernel in engine.kernels() if {"conv", "add"} & {*kernel.nodes}}
    assert ran
    assert ran <= SHORT


def sizes_are_not_negative(backend: Backend, folder: Path) -> None:
    """Bytes of the engine and on the device."""
    with backend.build(write_model(folder)) as engine:
        assert engine.engine_bytes > 0
        assert engine.device_memory_bytes >= 0


CHECKS: Mapping[str, Callable[[Backend, Path], None]] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            its_facts_are_of_the_tables,
            its_devices_can_be_chosen,
            a_fingerprint_stays,
            outputs_are_what_the_model_computes,
            outputs_follow_what_is_fed,
            inputs_and_outputs_go_by_name,
            what_cannot_be_is_a_failed_trial_in_one_line,
            an_engine_may_be_closed_twice,
            outputs_are_float32_whatever_the_model_s_are,
            kernels_tell_what_ran,
            kernels_spell_integers_as_the_audit_does,
            its_stopwatch_times_its_engines,
            its_clock_is_told_as_its_stopwatch_is,
            sizes_are_not_negative,
        )
    }
)
