"""A target's reports on itself and its engines, as records; they are untrusted, and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from autoprec.backends.openvino_nodes import Graph, RuntimeNode, kernels_of
from autoprec.backends.tensorrt.layers import kernels_of as layers_kernels
from autoprec.backends.tensorrt.layers import layers_from_json, layers_from_message
from autoprec.backends.tensorrt.options import Options
from autoprec.errors import TrialError
from autoprec.records import Clocks, KernelTime

_LONGEST_MS = 1e9
_LONGEST_CLOCKS = 2000


def clocks_of(told: object) -> Clocks:
    """Clock readings that a target reports. Raises `TrialError` for anything else."""
    named = told if isinstance(told, dict) else {}
    readings = {name: named[name] for name in Clocks.__struct_fields__ if name in named}
    try:
        clocks = msgspec.convert(readings, Clocks)
    except msgspec.ValidationError as error:
        raise TrialError("crash", f"the target's clock readings are invalid: {error}") from error
    # The record has texts, which are stored with every trial.
    if len(str(clocks)) > _LONGEST_CLOCKS:
        raise TrialError("crash", "the target's clock readings are invalid: they are too long")
    return clocks


def _milliseconds(microseconds: str) -> float:
    """A reported time in ms; 0 for what is none."""
    milliseconds = float(microseconds) / 1e3 if microseconds.isdecimal() else 0.0
    return milliseconds if milliseconds < _LONGEST_MS else 0.0


def held(power: Clocks) -> str:
    """Whether a board's GPU clock is held, as a word."""
    return "held" if power.clocks_locked else "not held"


def _openvino_kernels(graph: Graph, description: dict[str, Any]) -> tuple[KernelTime, ...]:
    """The kernels in OpenVINO's description of its nodes. Raises `TrialError` for anything else."""
    try:
        nodes = [
            RuntimeNode(
                kind=str(kind),
                kernel=str(kernel),
                origins=tuple(filter(None, str(origins).split(","))),
                time_ms=_milliseconds(str(microseconds)),
            )
            for kind, kernel, origins, microseconds in description["nodes"]
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TrialError("crash", f"the target does not describe its engine: {error}") from error
    return kernels_of(graph, nodes)


def _tensorrt_kernels(_: Graph, description: dict[str, Any]) -> tuple[KernelTime, ...]:
    """The kernels in TensorRT's description of its layers. Raises `TrialError` for anything else."""
    try:
        layers = layers_from_message(str(description["message"])) or layers_from_json(
            str(description["json"])
        )
        times = {str(name): float(ms) for name, ms in description["times"].items() if 0 <= ms < _LONGEST_MS}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TrialError("crash", f"the target does not describe its engine: {error}") from error
    return layers_kernels(layers, times)


KNOWN: Mapping[str, frozenset[str]] = {
    "openvino": frozenset({"threads"}),
    "tensorrt": frozenset(Options.__struct_fields__),
}
"""Options of the engines that targets serve."""
READERS: Mapping[str, Callable[[Graph, dict[str, Any]], tuple[KernelTime, ...]]] = {
    "openvino": _openvino_kernels,
    "tensorrt": _tensorrt_kernels,
}
"""What reads an engine's description, by the name of its backend."""
