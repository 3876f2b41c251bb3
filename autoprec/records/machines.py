"""What is found out about a machine."""

from __future__ import annotations

from autoprec.records._base import Record


class MachineCheck(Record, frozen=True, kw_only=True):
    """One fact of a machine; `remedy` is what to do about it, empty if it is fine."""

    name: str
    found: str
    remedy: str = ""
