"""The contract of backends bites: what an adapter may get wrong dies in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from autoprec.backends.openvino import OpenVinoBackend, OpenVinoEngine
from backend_contract import CHECKS


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


MUTANTS: Mapping[str, Callable[[], OpenVinoBackend]] = {
    "all outputs are zero": lambda: mutant(outputs(np.zeros_like)),
    "outputs are off by a fifth": lambda: mutant(outputs(lambda array: 1.2 * array)),
    "outputs are no float32": lambda: mutant(outputs(lambda array: array.astype(np.float64))),
    "FP16 outputs stay FP16": lambda: mutant(outputs(lambda array: array.astype(np.float16))),
    "there are no kernels": lambda: mutant(kernels(lambda _: [])),
    "kernels hold no nodes": lambda: mutant(
        kernels(lambda changed: [msgspec.structs.replace(kernel, nodes=()) for kernel in changed])
    ),
    "precisions are spelled otherwise": lambda: mutant(kernels(spelled("fp32"))),
    "precisions are spelled in capitals": lambda: mutant(kernels(spelled("F32"))),
    "every kernel claims integers": lambda: mutant(kernels(spelled("i8"))),
    "widened names no operator": lambda: mutant(same, widened=frozenset({("HardSwitch", "bf16")})),
    "widened names no precision": lambda: mutant(same, widened=frozenset({("HardSwish", "bfloat16")})),
    "widened names integers": lambda: mutant(same, widened=frozenset({("HardSwish", "int8")})),
    "the base is quantised": lambda: mutant(same, base_precision="int8"),
    "a grid is unknown": lambda: mutant(same, grids=("signed", "uint8")),
    "no grid has a sign": lambda: mutant(same, grids=("offset",)),
}


def dies(backend: OpenVinoBackend, folder: Path) -> bool:
    for check in CHECKS.values():
        try:
            check(backend, folder)
        except (AssertionError, KeyError):
            return True
    return False


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_dies(name: str, tmp_path: Path) -> None:
    assert dies(MUTANTS[name](), tmp_path)


def test_what_is_no_mutant_lives(tmp_path: Path) -> None:
    assert not dies(mutant(same), tmp_path)
