"""What a machine has that engines need: packages, driver, GPUs and their neighbours, and how to fix it.

Works on any machine: what is not installed is a line of its own, never an error.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autoprec.backends import EMBEDDED
from autoprec.backends.tensorrt import TensorRTBackend
from autoprec.backends.tensorrt.library import MODULES, load_library, mixed_wheels
from autoprec.backends.tensorrt.nvml import driver_version, gpus
from autoprec.errors import BackendError, how_to_install
from autoprec.records import MachineCheck

_DRIVER = Path("/proc/driver/nvidia/version")


def machine_checks() -> Iterator[MachineCheck]:
    """All facts, from the interpreter to the GPUs."""
    yield MachineCheck(name="python", found=f"{platform.python_version()} on {platform.machine()}")
    yield _package("openvino", "pip install openvino")
    yield from map(_tensorrt, MODULES)
    yield _package("cuda-bindings", "pip install cuda-bindings; TensorRT engines run through it")
    yield _package("nvidia-ml-py", "pip install nvidia-ml-py; without it clocks and neighbours stay unknown")
    yield from _gpus()


def installed_engine(checks: Sequence[MachineCheck]) -> str:
    """The backend to examine where none is named: TensorRT if one of the two loads, else the embedded one."""
    has_tensorrt = any(check.name in MODULES and not check.remedy for check in checks)
    return TensorRTBackend.name if has_tensorrt else EMBEDDED


def _package(name: str, remedy: str) -> MachineCheck:
    try:
        return MachineCheck(name=name, found=version(name))
    except PackageNotFoundError:
        return MachineCheck(name=name, found="not installed", remedy=remedy)


def _tensorrt(extra: str) -> MachineCheck:
    """One of the two TensorRTs: its version, if it loads."""
    try:
        library = load_library(extra)
    except BackendError as error:
        # Told by the message: one that is installed and does not load needs another remedy than an install.
        missing = "is not installed" in str(error)
        remedy = how_to_install(extra) if missing else str(error)
        return MachineCheck(name=extra, found="not installed" if missing else "does not load", remedy=remedy)
    if mixed := mixed_wheels():
        return MachineCheck(name=extra, found=f"{library.version}, parts for several CUDAs", remedy=mixed)
    builds = "builds without a GPU" if library.names_targets else "builds on its GPU"
    return MachineCheck(name=extra, found=f"{library.version}, {builds}")


def _gpus() -> Iterator[MachineCheck]:
    """The driver, and every GPU with its memory, neighbours and throttling."""
    driver = driver_version()
    if not driver:
        remedy = "engines can be built, not run: install the NVIDIA driver, `nvidia-smi` must list the GPU"
        state = "loaded, but NVML does not answer" if _DRIVER.exists() else "none found"
        yield MachineCheck(name="NVIDIA driver", found=state, remedy=remedy)
        return
    yield MachineCheck(name="NVIDIA driver", found=driver)
    for gpu in gpus():
        remedies = []
        if gpu.other_processes:
            remedies.append(f"{gpu.other_processes} other processes use it: stop them, they disturb timings")
        if gpu.throttle_reasons:
            remedies.append(f"its clocks are throttled: {', '.join(gpu.throttle_reasons)}")
        yield MachineCheck(
            name=f"GPU {gpu.index}",
            found=f"{gpu.name}, compute capability {gpu.capability}, "
            f"{gpu.free_mib} of {gpu.total_mib} MiB free",
            remedy="; ".join(remedies),
        )
