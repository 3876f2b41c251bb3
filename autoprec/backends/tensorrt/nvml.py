"""Clocks, power, temperature and neighbours of a GPU, as NVML tells them.

What a driver or a virtual machine does not tell comes out as None: a missing reading never fails a trial.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from autoprec.records import Clocks

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


def read_clocks(bus_id: str, *, holds_context: bool) -> Clocks:
    """The GPU at that PCI address now; an empty reading where NVML is missing.

    `holds_context`: this process has a CUDA context on it, so one of the GPU's processes is this one, even if
    a container shows it under another number.
    """
    try:
        import pynvml
    except ImportError:
        return Clocks(load_average=os.getloadavg()[0])
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(bus_id)
    except pynvml.NVMLError:
        return Clocks(load_average=os.getloadavg()[0])

    def ask(question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(handle, *arguments)
        except pynvml.NVMLError:
            return None

    power = ask(pynvml.nvmlDeviceGetPowerUsage)
    processes = ask(pynvml.nvmlDeviceGetComputeRunningProcesses)
    return Clocks(
        sm_mhz=ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
        memory_mhz=ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
        power_watts=None if power is None else power / 1000,
        temperature_celsius=ask(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
        throttle_reasons=throttle_reasons(ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons) or 0),
        other_processes=None if processes is None else _others([p.pid for p in processes], holds_context),
        load_average=os.getloadavg()[0],
    )


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """The reasons that hold the clocks down, by name."""
    return tuple(name for bit, name in _REASONS.items() if bits & bit)


def _others(pids: list[int], holds_context: bool) -> int:
    """How many are neither this process nor the search that started it, which may have calibrated."""
    if os.getpid() in pids:
        return len(set(pids) - {os.getpid(), os.getppid()})
    return len(pids) - (1 if holds_context and pids else 0)
