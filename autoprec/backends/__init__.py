"""Engines: one file or folder per runtime, the table of them, and the one stopwatch.

A new backend is one new file and one line in the table; its heavy package loads when it is named.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from autoprec.backends._base import (
    Arrays,
    Backend,
    Builder,
    BuildsAhead,
    BuildsUntimed,
    ChecksItself,
    CutsMasks,
    Device,
    Distant,
    Engine,
    HasDevices,
    KeepsTimings,
    KernelTimings,
    ShipsEngines,
    TellsLayers,
    computes,
    run,
)
from autoprec.errors import SpecError

Option = str | int | float | bool
BACKENDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "openvino": ("autoprec.backends.openvino", "OpenVinoBackend"),
        "simulated": ("autoprec.backends.simulated", "SimulatedBackend"),
        "target": ("autoprec.backends.target", "TargetBackend"),
        "tensorrt": ("autoprec.backends.tensorrt", "TensorRTBackend"),
    }
)


EMBEDDED = "openvino"
"""The engine that is always installed and runs on the processors: it calibrates and decodes for others."""
PACKAGES = ("openvino", "tensorrt", "tensorrt-rtx")
"""Distributions that engines come in, whose versions reports tell."""


def backend_type(name: str) -> Any:
    """The class of the backend of that name. Raises `SpecError` for an unknown name."""
    if name not in BACKENDS:
        raise SpecError(f"unknown backend {name!r}; known: {', '.join(BACKENDS)}")
    module, kind = BACKENDS[name]
    return getattr(importlib.import_module(module), kind)


def create_backend(name: str, options: Mapping[str, Option]) -> Backend:
    """The backend of that name. Raises `SpecError` for an unknown name or option, `BackendError` if its
    runtime is not installed or has no device."""
    # Definitions name the engine; that it runs elsewhere is an option,
    # so the target's backend stands in front.
    if options.get("target") and name != "target":
        name, options = "target", {**options, "engine": name}
    backend: Backend = backend_type(name)(options)
    return backend


__all__ = [
    "BACKENDS",
    "EMBEDDED",
    "PACKAGES",
    "Arrays",
    "Backend",
    "Builder",
    "BuildsAhead",
    "BuildsUntimed",
    "ChecksItself",
    "CutsMasks",
    "Device",
    "Distant",
    "Engine",
    "HasDevices",
    "KeepsTimings",
    "KernelTimings",
    "ShipsEngines",
    "TellsLayers",
    "backend_type",
    "computes",
    "create_backend",
    "run",
]
