"""What checks say: of an export that is measured again, and of a machine."""

from __future__ import annotations

from autoprec.records._base import Interval, Record


class Check(Record, frozen=True, kw_only=True):
    """One figure measured again: `is_same` if it is as recorded, or better; `words` has both."""

    name: str
    is_same: bool
    words: str
    found: Interval | None = None


class Verification(Record, frozen=True, kw_only=True):
    """An export measured again; `note` says what differs here, as another engine or device."""

    checks: tuple[Check, ...]
    note: str = ""

    @property
    def is_same(self) -> bool:
        """Whether all figures are as recorded, or better."""
        return all(check.is_same for check in self.checks)


class MachineCheck(Record, frozen=True, kw_only=True):
    """One fact of a machine; `remedy` is what to do about it, empty if it is fine."""

    name: str
    found: str
    remedy: str = ""
