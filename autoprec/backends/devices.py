"""The devices of this machine that engines can be measured on, and which of them a search takes.

What a device is, its backend says (`HasDevices`); that of all others is the CPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from autoprec.backends import Device, HasDevices, backend_type
from autoprec.backends.target.address import TARGET, several
from autoprec.errors import BackendError, StudyError


def devices(backend: str, options: Mapping[str, object], wanted: str | None) -> tuple[Device, ...]:
    """The devices that a search measures on, at least one.

    Args:
        backend: the engine's name.
        options: of the backend; `device` is the number that is taken where nothing is wanted.
        wanted: `0,1` or `all`; None is one device.

    Raises `BackendError` for a device that is not there, `StudyError` for devices that are not alike.
    """
    if target := str(options.get("target", "")):
        if wanted is not None:
            raise BackendError(f"--devices {wanted}: name targets in target.address, with commas")
        addresses = dict.fromkeys(several(target))
        if len(addresses) == 1:
            return (Device(name=target, lease=_named(target)),)
        return tuple(
            Device(name=address, lease=_named(address), environment={TARGET: address})
            for address in addresses
        )
    kind = backend_type(backend)
    if not isinstance(kind, HasDevices):
        if wanted not in (None, "all", "0"):
            raise BackendError(f"--devices {wanted}: {backend} computes on the CPU, which is one device")
        # One lease for all engines that compute there: two that run at once disturb each other's timings.
        return (Device(name="cpu", lease="cpu"),)
    there, number = tuple(kind.devices()), int(str(options.get("device", 0)))
    if wanted is None:
        word = kind.resource.lower()
        unknown = Device(name=f"{word} {number}", lease=f"{word}-{number}")
        usual = there[number] if number < len(there) else unknown
        # Without a variable: the process sees it as it is, and takes it by the option.
        return (msgspec.structs.replace(usual, environment={}),)
    if number:
        raise BackendError("--devices and backend.options.device both name devices; take the option out")
    if not there:
        raise BackendError(
            f"--devices {wanted}: {backend} finds no {kind.resource} here; "
            f"`autoprec doctor --backend {backend}` says what it needs"
        )
    listed = tuple(there[number] for number in _numbers(wanted, kind.resource, len(there)))
    if len(kinds := sorted({device.kind for device in listed})) > 1:
        raise StudyError(
            f"--devices {wanted}: {' and '.join(kinds)} are not alike, and their figures cannot be compared; "
            "search a study on each, and compare them with `autoprec compare`"
        )
    return listed


def resource(backend: str, options: Mapping[str, object]) -> str:
    """What a cluster calls the devices of its machines that a backend runs on; "" where that are processors,
    or a target beside them."""
    kind = backend_type(backend)
    return kind.resource if isinstance(kind, HasDevices) and not options.get("target") else ""


def _named(address: str) -> str:
    """The name of a target's lease."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


def _numbers(wanted: str, resource: str, count: int) -> tuple[int, ...]:
    """The numbers that were requested, of so many devices. Raises `BackendError`."""
    if wanted == "all":
        return tuple(range(count))
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in wanted.split(",")))
    except ValueError:
        raise BackendError(f"--devices {wanted}: give numbers, as 0,1, or all") from None
    if wrong := [number for number in numbers if not 0 <= number < count]:
        raise BackendError(
            f"--devices {wanted}: there is no {resource} {wrong[0]}; they go from 0 to {count - 1}"
        )
    return numbers
