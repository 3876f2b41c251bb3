"""The devices of this machine that engines can be measured on, and which of them a search takes.

A worker process sees one GPU alone, by its UUID: numbers depend on who counts, CUDA or NVML, and on what a
batch system has already hidden.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from autoprec.backends.target.address import TARGET, several
from autoprec.backends.tensorrt.neighbours import VISIBLE
from autoprec.backends.tensorrt.nvml import Gpu, gpus
from autoprec.errors import BackendError, StudyError
from autoprec.records import Record


class Device(Record, frozen=True, kw_only=True):
    """Something that runs one timing at a time.

    Attributes:
        name: what tables call it, `gpu 1` or `cpu`.
        kind: what it is; figures of devices of another kind are not comparable.
        lease: what distinguishes it from every other device of the machine, for the lease of it.
        visible: what CUDA_VISIBLE_DEVICES is to be for its workers; "" leaves that alone.
        target: the target of its workers, where a study has several; "" for the study's only one.
    """

    name: str
    kind: str = ""
    lease: str = ""
    visible: str = ""
    target: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the device's workers."""
        named = {VISIBLE: self.visible, TARGET: self.target}
        return {name: value for name, value in named.items() if value}


def devices(backend: str, options: Mapping[str, object], wanted: str | None) -> tuple[Device, ...]:
    """The devices that a search measures on, at least one.

    Args:
        backend: the engine's name.
        options: of the backend; `device` is the GPU that is taken where nothing is wanted.
        wanted: `0,1` or `all`; None is one device.

    Raises `BackendError` for a device that is not there, `StudyError` for devices that are not alike.
    """
    if target := str(options.get("target", "")):
        if wanted is not None:
            raise BackendError(f"--devices {wanted}: name targets in target.address, with commas")
        addresses = dict.fromkeys(several(target))
        if len(addresses) == 1:
            return (Device(name=target, lease=_named(target)),)
        return tuple(Device(name=address, lease=_named(address), target=address) for address in addresses)
    if backend != "tensorrt":
        if wanted not in (None, "all", "0"):
            raise BackendError(f"--devices {wanted}: {backend} computes on the CPU, which is one device")
        return (Device(name="cpu", lease=f"cpu-{backend}"),)
    there = _visible(gpus())
    if wanted is None:
        number = int(str(options.get("device", 0)))
        lease = there[number].uuid if number < len(there) else f"gpu-{number}"
        kind = there[number].name if number < len(there) else ""
        return (Device(name=f"gpu {number}", kind=kind, lease=lease),)
    if int(str(options.get("device", 0))):
        raise BackendError("--devices and backend.options.device both name GPUs; take the option out")
    listed = tuple(
        Device(name=f"gpu {n}", kind=there[n].name, lease=there[n].uuid, visible=there[n].uuid)
        for n in _numbers(wanted, len(there))
    )
    if len(kinds := sorted({device.kind for device in listed})) > 1:
        raise StudyError(
            f"--devices {wanted}: {' and '.join(kinds)} are not alike, and their figures cannot be compared; "
            "search a study on each, and compare them with `autoprec compare`"
        )
    return listed


def _named(address: str) -> str:
    """The name of a target's lease."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


def _numbers(wanted: str, count: int) -> tuple[int, ...]:
    """The numbers that were requested. Raises `BackendError`."""
    if not count:
        raise BackendError(f"--devices {wanted}: no NVIDIA GPU is found; `nvidia-smi` must list it")
    if wanted == "all":
        return tuple(range(count))
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in wanted.split(",")))
    except ValueError:
        raise BackendError(f"--devices {wanted}: give numbers, as 0,1, or all") from None
    if wrong := [number for number in numbers if not 0 <= number < count]:
        raise BackendError(f"--devices {wanted}: there is no GPU {wrong[0]}; they go from 0 to {count - 1}")
    return numbers


def _visible(there: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """The GPUs that this process may use, in the order in which it sees them."""
    told = os.environ.get(VISIBLE)
    if told is None:
        return there
    names = [name.strip() for name in told.split(",") if name.strip()]
    # In the order of the variable, by which CUDA counts from 0.
    return tuple(gpu for name in names for gpu in there if name in (str(gpu.index), gpu.uuid))
