"""Faults of a target rather than of a candidate; some of them pass with time."""

from __future__ import annotations

import re

from autoprec.backends.target.address import Address
from autoprec.errors import BackendError

_CUT = re.compile(r"Connection (to \S+ )?(closed|reset)|Broken pipe")
"""What ssh says of a line that was there for a moment."""


class UnreachableError(BackendError):
    """A target that cannot be reached now; it may come back."""


class CutError(UnreachableError):
    """A target that was reached, and whose line was cut before it served: to be tried again at once."""


class FullError(BackendError):
    """The target's disk is full; somebody may make room."""


class GoneError(BackendError):
    """Something that was sent is not there any more: it made room, or was cleaned away."""


def unreached(address: Address, words: str) -> BackendError:
    """The error for a failed ssh, from its last words, with the remedy. A host key is never waited for."""
    last = (words.splitlines() or ["ssh gives no reason"])[-1].strip()
    told = f"{address.name} cannot be reached ({last})"
    if "IDENTIFICATION HAS CHANGED" in words:
        forget = f"ssh-keygen -R '{address.key_name}'"
        return BackendError(f"{told}; its host key has changed; if that is expected, run `{forget}`")
    if "Host key" in words:
        return BackendError(f"{told}; accept its key once: `{address.by_hand}`")
    if "Permission denied" in words:
        return UnreachableError(
            f"{told}; let your key in: `{address.by_hand.replace('ssh', 'ssh-copy-id', 1)}`"
        )
    kind = CutError if _CUT.search(words) else UnreachableError
    return kind(f"{told}; is it on, and does `{address.by_hand}` reach it?")
