"""Clocks, power, temperature and neighbours of a GPU, as NVML reports them.

What a driver or a virtual machine does not report comes out as None: a missing reading never fails a trial.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from autoprec.backends._base import Device
from autoprec.backends.tensorrt.neighbours import VISIBLE, others
from autoprec.records import Clocks, Record

_REASONS = {
    0x0000000000000002: "applications clocks",
    0x0000000000000004: "power cap",
    0x0000000000000008: "hardware slowdown",
    0x0000000000000010: "sync boost",
    0x0000000000000020: "thermal (software)",
    0x0000000000000040: "thermal (hardware)",
    0x0000000000000080: "power brake",
    0x0000000000000100: "display clocks",
}
"""Bits of nvmlClocksEventReasons (nvml.h); bit 1, an idle GPU, is no throttling."""


class Gpu(Record, frozen=True, kw_only=True):
    """A GPU of this machine, as NVML counts and knows them."""

    index: int
    name: str
    capability: str
    free_mib: int
    total_mib: int
    other_processes: int
    throttle_reasons: tuple[str, ...]
    uuid: str = ""


def driver_version() -> str:
    """The NVIDIA driver's version; empty without a driver, or without NVML's Python package."""
    nvml = _started()
    return str(nvml.nvmlSystemGetDriverVersion()) if nvml else ""


def gpus() -> tuple[Gpu, ...]:
    """All GPUs; none without a driver, or without NVML's Python package."""
    nvml = _started()
    if nvml is None:
        return ()
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    return tuple(_gpu(nvml, index, handle) for index, handle in enumerate(handles))


def devices() -> tuple[Device, ...]:
    """The GPUs that this process may use, in the order in which it sees them.

    A worker sees one alone, by its UUID: numbers depend on who counts, CUDA or NVML, and on what a batch
    system has already hidden.
    """
    there, told = gpus(), os.environ.get(VISIBLE)
    if told is not None:
        names = [name.strip() for name in told.split(",") if name.strip()]
        # In the order of the variable, by which CUDA counts from 0.
        there = tuple(gpu for name in names for gpu in there if name in (str(gpu.index), gpu.uuid))
    return tuple(
        Device(name=f"gpu {number}", kind=gpu.name, lease=gpu.uuid, environment={VISIBLE: gpu.uuid})
        for number, gpu in enumerate(there)
    )


def _gpu(nvml: Any, index: int, handle: Any) -> Gpu:
    memory, (major, minor) = (
        nvml.nvmlDeviceGetMemoryInfo(handle),
        nvml.nvmlDeviceGetCudaComputeCapability(handle),
    )
    clocks = _clocks(nvml, handle, holds_context=False)
    return Gpu(
        index=index,
        name=str(nvml.nvmlDeviceGetName(handle)),
        capability=f"{major}.{minor}",
        free_mib=memory.free >> 20,
        total_mib=memory.total >> 20,
        other_processes=clocks.other_processes or 0,
        throttle_reasons=clocks.throttle_reasons,
        uuid=str(nvml.nvmlDeviceGetUUID(handle)),
    )


def read_clocks(bus_id: str, *, holds_context: bool) -> Clocks:
    """The clocks of the GPU at that PCI address now; an empty reading where NVML is missing.

    `holds_context`: this process has a CUDA context on it, so one of the GPU's processes is this one, even if
    a container shows it under another number.
    """
    nvml = _started()
    if nvml is None:
        return Clocks(load_average=os.getloadavg()[0])
    try:
        handle = nvml.nvmlDeviceGetHandleByPciBusId(bus_id)
    except nvml.NVMLError:
        return Clocks(load_average=os.getloadavg()[0])
    return _clocks(nvml, handle, holds_context=holds_context)


def _started() -> Any | None:
    """NVML's Python module, ready; None where it is not installed or finds no driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        # May be called again: NVML counts its users.
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _clocks(nvml: Any, handle: Any, *, holds_context: bool) -> Clocks:
    def ask(question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(handle, *arguments)
        except nvml.NVMLError:
            return None

    power = ask(nvml.nvmlDeviceGetPowerUsage)
    processes = ask(nvml.nvmlDeviceGetComputeRunningProcesses)
    return Clocks(
        sm_mhz=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
        memory_mhz=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),
        power_watts=None if power is None else power / 1000,
        temperature_celsius=ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        throttle_reasons=throttle_reasons(ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons) or 0),
        other_processes=None
        if processes is None
        else others([process.pid for process in processes], holds_context=holds_context),
        load_average=os.getloadavg()[0],
    )


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """The reasons that hold the clocks down, by name."""
    return tuple(name for bit, name in _REASONS.items() if bits & bit)
