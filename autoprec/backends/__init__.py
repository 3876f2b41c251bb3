"""Engines: one file or folder per runtime, the table of them, and the one stopwatch.

A new backend is one new file and one line in the table; its heavy package loads when it is named.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from autoprec.backends._base import (
    Arrays,
    Backend,
    Builder,
    CutsMasks,
    Distant,
    Engine,
    KeepsTimings,
    ShipsEngines,
    TellsLayers,
    computes,
    run,
)
from autoprec.errors import SpecError

BACKENDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "openvino": ("autoprec.backends.openvino", "OpenVinoBackend"),
        "simulated": ("autoprec.backends.simulated", "SimulatedBackend"),
        "target": ("autoprec.backends.target", "TargetBackend"),
        "tensorrt": ("autoprec.backends.tensorrt", "TensorRTBackend"),
    }
)


def create_backend(name: str, options: Mapping[str, str | int | float | bool]) -> Backend:
    """The backend of that name. Raises `SpecError` for an unknown name or option, `BackendError` if its
    runtime is not installed or has no device."""
    # Definitions name the engine; that it runs elsewhere is an option,
    # so the target's backend stands in front.
    if options.get("target") and name != "target":
        name, options = "target", {**options, "engine": name}
    if name not in BACKENDS:
        raise SpecError(f"unknown backend {name!r}; known: {', '.join(BACKENDS)}")
    module, kind = BACKENDS[name]
    backend: Backend = getattr(importlib.import_module(module), kind)(options)
    return backend


__all__ = [
    "BACKENDS",
    "Arrays",
    "Backend",
    "Builder",
    "CutsMasks",
    "Distant",
    "Engine",
    "KeepsTimings",
    "ShipsEngines",
    "TellsLayers",
    "computes",
    "create_backend",
    "run",
]
