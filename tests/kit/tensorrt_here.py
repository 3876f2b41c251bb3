"""The TensorRT that tests find here: TensorRT-RTX, or full TensorRT's API in front of it.

With `tests/backends/tensorrt/mask` on PYTHONPATH and a version of full TensorRT in $MASKED_TENSORRT,
`tensorrt` is TensorRT-RTX behind the mask of that version, and the backend is full TensorRT to itself.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from autoprec.backends.tensorrt import TensorRTBackend, cuda
from autoprec.backends.tensorrt.cuda import CudaDevice
from autoprec.backends.tensorrt.layers import kernels_of, layers_from_message
from autoprec.backends.tensorrt.library import Library, load_library
from autoprec.records import KernelTime

MASK = os.environ.get("MASKED_TENSORRT", "")
rtx_alone = pytest.mark.skipif(bool(MASK), reason="what TensorRT-RTX alone does")


def library() -> Library:
    """The library under test."""
    return load_library("tensorrt" if MASK else "tensorrt-rtx")


def mask() -> Any:
    """The module `masking`: what it arranges for a test."""
    return importlib.import_module("masking")


def tensorrt_backend(target: str = "8.9", **options: Any) -> TensorRTBackend:
    """A backend that builds for a GPU: named to TensorRT-RTX, and pretended to be here to full TensorRT."""
    if not MASK:
        return TensorRTBackend({"compute_capabilities": target, **options})
    major, minor = map(int, target.split("."))
    mask().TARGET[:] = [(major, minor)]
    device = CudaDevice(
        name=f"pretended {target}",
        compute_capability=(major, minor),
        bus_id="",
        l2_bytes=1 << 25,
        driver="13.0",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "find_device", lambda ordinal: device)
        return TensorRTBackend({"library": "tensorrt", **options})


def planned_kernels(backend: TensorRTBackend, path: Path) -> tuple[KernelTime, ...]:
    """The kernels of a build that is not loaded.

    Full TensorRT tells them of a loaded engine alone; what is behind the mask logs them as TensorRT-RTX does.
    """
    if not MASK:
        return backend.plan_kernels(path)
    assert backend.build_plan(path).layers == ()
    return kernels_of(layers_from_message(library().log.layers), {})
