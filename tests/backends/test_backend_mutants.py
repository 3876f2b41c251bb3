"""The contract of backends bites: what an adapter may get wrong dies in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino
import pytest

from autoprec.backends import Device
from autoprec.backends.openvino import OpenVinoBackend, OpenVinoEngine
from autoprec.records import Fingerprint
from backend_contract import CHECKS
from trial_records import ENGINE as OPENVINO

ENGINE = msgspec.structs.replace(OPENVINO, backend="simulated")


def mutant(change: Callable[[OpenVinoEngine], None], **facts: Any) -> OpenVinoBackend:
    """OpenVINO with one thing wrong, in its engines or in what it says of itself."""

    class Mutant(OpenVinoBackend):
        def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
            engine = super().build(model_path, profiled=profiled)
            change(engine)
            return engine

    backend = Mutant({})
    for name, value in facts.items():
        setattr(backend, name, value)
    return backend


def outputs(change: Callable[[Any], Any]) -> Callable[[OpenVinoEngine], None]:
    def apply(engine: OpenVinoEngine) -> None:
        right = engine.outputs
        setattr(engine, "outputs", lambda: {name: change(array) for name, array in right().items()})  # noqa: B010

    return apply


def kernels(change: Callable[[Any], Any]) -> Callable[[OpenVinoEngine], None]:
    def apply(engine: OpenVinoEngine) -> None:
        right = engine.kernels
        setattr(engine, "kernels", lambda: tuple(change(right())))  # noqa: B010

    return apply


def spelled(name: str) -> Callable[[Any], Any]:
    return lambda changed: [msgspec.structs.replace(kernel, precision=name) for kernel in changed]


def same(engine: OpenVinoEngine) -> None:
    """Nothing."""


def only_once(engine: OpenVinoEngine) -> None:
    right, first = engine.outputs, dict[str, Any]()
    setattr(engine, "outputs", lambda: first or first.update(right()) or first)  # noqa: B010


def shared() -> Callable[[Any], Any]:
    """Every array in the one that came first."""
    buffers: list[Any] = []

    def written(array: Any) -> Any:
        if not buffers or buffers[0].shape != array.shape:
            buffers[:] = [array]
        buffers[0][...] = array
        return buffers[0]

    return written


def renamed(engine: OpenVinoEngine) -> None:
    right = engine.outputs
    setattr(engine, "outputs", lambda: {f"{name}:0": array for name, array in right().items()})  # noqa: B010


def swapped(engine: OpenVinoEngine) -> None:
    right = engine.outputs
    setattr(engine, "outputs", lambda: dict(zip(sorted(right()), right().values(), strict=True)))  # noqa: B010


def fed_in_turn(engine: OpenVinoEngine) -> None:
    right = engine.prepare
    setattr(engine, "prepare", lambda given: right(dict(zip(sorted(given), given.values(), strict=True))))  # noqa: B010


def closing_once(engine: OpenVinoEngine) -> None:
    once = iter([engine.close])
    setattr(engine, "close", lambda: next(once)())  # noqa: B010


def on_devices(resource: str, seen: Sequence[str]) -> OpenVinoBackend:
    """Two devices, leased and seen by these names."""
    listed = [
        Device(name=f"gpu {n}", lease=name, environment={"SEEN": name} if name else {})
        for n, name in enumerate(seen)
    ]
    return mutant(same, has_own_device=True, resource=resource, devices=lambda: listed)


def raw_build(model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
    """OpenVINO's own errors come through."""
    openvino.Core().read_model(model_path)
    return OpenVinoBackend({}).build(model_path, profiled=profiled)


def changing() -> Callable[[], Fingerprint]:
    """A fingerprint with the time in it."""
    right, count = OpenVinoBackend({}).fingerprint(), itertools.count()
    return lambda: msgspec.structs.replace(right, options=f"{next(count)}")


MUTANTS: Mapping[str, Callable[[], OpenVinoBackend]] = {
    "all outputs are zero": lambda: mutant(outputs(np.zeros_like)),
    "outputs are off by a fifth": lambda: mutant(outputs(lambda array: 1.2 * array)),
    "outputs are no float32": lambda: mutant(outputs(lambda array: array.astype(np.float64))),
    "FP16 outputs stay FP16": lambda: mutant(outputs(lambda array: array.astype(np.float16))),
    "outputs are those of the first run": lambda: mutant(only_once),
    "outputs share a buffer": lambda: mutant(outputs(shared())),
    "outputs have other names": lambda: mutant(renamed),
    "outputs are named in another order": lambda: mutant(swapped),
    "inputs are fed as they come": lambda: mutant(fed_in_turn),
    "there are no kernels": lambda: mutant(kernels(lambda _: [])),
    "kernels hold no nodes": lambda: mutant(
        kernels(lambda changed: [msgspec.structs.replace(kernel, nodes=()) for kernel in changed])
    ),
    "precisions are spelled otherwise": lambda: mutant(kernels(spelled("fp32"))),
    "precisions are spelled in capitals": lambda: mutant(kernels(spelled("F32"))),
    "integers are spelled otherwise": lambda: mutant(
        kernels(
            lambda changed: [
                msgspec.structs.replace(kernel, precision=kernel.precision.replace("i8", "int8"))
                for kernel in changed
            ]
        )
    ),
    "every kernel claims integers": lambda: mutant(kernels(spelled("i8"))),
    "widened names no operator": lambda: mutant(same, widened=frozenset({("HardSwitch", "bf16")})),
    "widened names no precision": lambda: mutant(same, widened=frozenset({("HardSwish", "bfloat16")})),
    "widened names integers": lambda: mutant(same, widened=frozenset({("HardSwish", "int8")})),
    "kernels take less than no time": lambda: mutant(
        kernels(lambda changed: [msgspec.structs.replace(kernel, time_ms=-1.0) for kernel in changed])
    ),
    "kernels hold nodes of another model": lambda: mutant(
        kernels(lambda changed: [msgspec.structs.replace(kernel, nodes=("conv", "x1")) for kernel in changed])
    ),
    "an engine has no size": lambda: mutant(lambda engine: setattr(engine, "engine_bytes", 0)),
    "memory is below zero": lambda: mutant(lambda engine: setattr(engine, "device_memory_bytes", -1)),
    "an engine closes once": lambda: mutant(closing_once),
    "refusals are the library's own": lambda: mutant(same, build=raw_build),
    "the fingerprint changes": lambda: mutant(same, fingerprint=changing()),
    "the fingerprint is another's": lambda: mutant(same, fingerprint=lambda: ENGINE),
    "no stopwatch has that name": lambda: mutant(same, stopwatch="wall"),
    "its engines lack what the stopwatch asks for": lambda: mutant(same, stopwatch="cuda"),
    "bases begin with another": lambda: mutant(same, bases=("bf16", "fp32")),
    "a base is quantised beside others": lambda: mutant(same, bases=("fp32", "int8")),
    "the base is quantised": lambda: mutant(same, base_precision="int8"),
    "a grid is unknown": lambda: mutant(same, grids=("signed", "uint8")),
    "no grid has a sign": lambda: mutant(same, grids=("offset",)),
    "its own device is none of a list": lambda: mutant(same, has_own_device=True),
    "its devices have no name for clusters": lambda: on_devices("", ["a", "b"]),
    "two devices are leased as one": lambda: on_devices("GPU", ["a", "a"]),
    "a process sees all devices": lambda: on_devices("GPU", ["a", ""]),
}


def dies(backend: OpenVinoBackend, folder: Path) -> bool:
    for check in CHECKS.values():
        try:
            check(backend, folder)
        except Exception:  # noqa: BLE001 - a check that fails in any way has noticed
            return True
    return False


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_dies(name: str, tmp_path: Path) -> None:
    assert dies(MUTANTS[name](), tmp_path)


def test_what_is_no_mutant_lives(tmp_path: Path) -> None:
    assert not dies(mutant(same), tmp_path)
    assert not dies(on_devices("GPU", ["a", "b"]), tmp_path)
